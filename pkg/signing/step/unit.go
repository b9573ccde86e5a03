// SPDX-License-Identifier: Apache-2.0

package step

import (
	"fmt"
	"math"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Ended is a step that has ended and must be signed.
type Ended struct {
	Config   Config
	ExitCode int32           // with which the container will exit
	Entries  []signing.Entry // the step's values, if they travel by the log of Tekton's results sidecar
	// Hasty is whether an earlier step of the pod got no identity. Then the signer tries once, for a short time.
	Hasty bool
}

// Pod is the pod of a step.
type Pod struct {
	Name string
	UID  signing.UID
}

// Unit describes the step and what it emitted. results are what termination.ParseMessage returned for its
// message.
func (e Ended) Unit(
	pod Pod, scheme signing.Scheme, algorithm signing.Algorithm, at time.Time, results []result.RunResult,
) (signing.Unit, error) {
	entries, err := e.entries(results)
	if err != nil {
		return signing.Unit{}, err
	}
	c := e.Config
	header := signing.Header{
		Scheme: scheme, Algorithm: algorithm, Flags: e.flags(),
		PodUID: pod.UID, TaskRunUID: c.TaskRunUID, SignedAt: at.UTC().Truncate(time.Second),
		Index: c.Index, Count: c.Count, Entries: uint16(len(entries)), // #nosec G115 -- entries returns no more
	}
	if err := header.Validate(); err != nil {
		return signing.Unit{}, err
	}
	return signing.Unit{
		Header: header, Namespace: c.Namespace, TaskRun: c.TaskRun, Pod: pod.Name, Container: c.Container,
		ExitCode: signing.ExitCodeOf(results, e.ExitCode), Entries: entries,
	}, nil
}

func (e Ended) flags() signing.Flags {
	var flags signing.Flags
	if e.Config.Values != nil {
		flags |= signing.FlagSidecarLogs
	}
	if e.Config.Index == e.Config.Count-1 {
		flags |= signing.FlagLast
	}
	if e.ExitCode != 0 {
		flags |= signing.FlagStepFails
	}
	return flags
}

// entries returns what the unit vouches for: the entries of the message, or those that travel by the
// sidecar's log.
func (e Ended) entries(results []result.RunResult) ([]signing.Entry, error) {
	if e.Config.Values == nil {
		return signing.EntriesOf(results)
	}
	if n := len(e.Entries); n > math.MaxUint16 {
		return nil, fmt.Errorf("%d entries are more than the %d that evidence can count", n, math.MaxUint16)
	}
	return e.Entries, nil
}
