// SPDX-License-Identifier: Apache-2.0

// Package objectsize knows how large a TaskRun a cluster takes, in bytes of its JSON.
package objectsize

const (
	// etcd takes requests of 1.5 MiB. That of an update names the key three times and needs about 60 bytes more; the
	// rest is for a longer prefix of keys.
	etcdRequest  = 3 << 19
	etcdEnvelope = 256
	etcdKey      = "/registry/tekton.dev/taskruns//"

	// Reviewed is the most that an update may hold, old and new object together: Tekton's webhook takes reviews of 3
	// MiB, in which about 1.5 KiB go to who asks what.
	Reviewed = 3<<20 - 4<<10

	// marks is what a verdict and its record add, with room to spare.
	marks = 20 << 10
)

// Stored is the most that the API server stores of a TaskRun of that name.
func Stored(namespace, name string) int {
	return etcdRequest - etcdEnvelope - 3*(len(etcdKey)+len(namespace)+len(name))
}

// Fits reports whether a TaskRun can be stored.
func Fits(namespace, name string, size int) bool { return size <= Stored(namespace, name) }

// Reviewable reports whether a TaskRun of old bytes can be updated to one of size bytes.
func Reviewable(old, size int) bool { return old+size <= Reviewed }

// Unreviewable reports whether an update that adds a verdict or a record to an object of that size is more than
// Tekton's webhook takes.
func Unreviewable(size int) bool { return 2*size+marks > Reviewed }
