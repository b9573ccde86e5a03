// SPDX-License-Identifier: Apache-2.0

// Package objectsize knows how large an object a cluster takes, in bytes of its JSON.
package objectsize

const (
	// Stored is the most that the API server stores of one object: etcd takes requests of 1.5 MiB. Such a request names the key
	// three times (30 characters, the namespace of up to 63 and the name of up to 253) and needs about 100 bytes more.
	Stored = 3<<19 - 2<<10
	// Reviewed is the most that an update may hold, old and new object together: Tekton's webhook takes reviews of 3 MiB, in which
	// about 1.5 KiB go to who asks what.
	Reviewed = 3<<20 - 4<<10
	// marks is what a verdict and its record add, with room to spare.
	marks = 20 << 10
)

// Fits reports whether an object can be updated to one of that size; old is 0 if there is none.
func Fits(old, size int) bool { return size <= Stored && old+size <= Reviewed }

// Unreviewable reports whether an update that adds a verdict or a record to an object of that size is more than Tekton's webhook
// takes.
func Unreviewable(size int) bool { return 2*size+marks > Reviewed }
