// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/signer/internal/message"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
)

// room returns how long a message may be without being cut, even after someone adds a container to the pod.
func (w wrapper) room() int { return room.Of(w.config).Room }

// encode returns the message with more entries.
func (w wrapper) encode(m message.Message, more ...result.RunResult) ([]byte, error) {
	return room.Of(w.config).Text(slices.Concat(m.Results, more))
}

// limit returns how long the message may be with evidence.
func (w wrapper) limit(m message.Message) int { return room.Of(w.config).Limit(m.Results, emits(m)) }

// emits reports whether the step has results or artifacts in its message.
func emits(m message.Message) bool {
	return slices.ContainsFunc(m.Results, func(r result.RunResult) bool { return signing.IsSignedKind(r.ResultType) })
}

// tooLong is the error for evidence that does not fit.
type tooLong struct {
	needs, limit, share int // bytes
	advice              string
}

func (e tooLong) Error() string {
	if e.limit < e.share {
		return fmt.Sprintf("the termination message needs %d bytes, and with one more container in the pod, such as one "+
			"for debugging, "+
			"its share would be %d: the results go first; %s", e.needs, e.limit, e.advice)
	}
	return fmt.Sprintf("the termination message needs %d bytes, the container's share is %d; %s", e.needs, e.share,
		e.advice)
}

// newTooLong returns the error with advice for this step.
func (w wrapper) newTooLong(m message.Message, carriers []result.RunResult, needs, limit int) tooLong {
	var advice []string
	if emits(m) {
		advice = append(advice, "emit fewer or shorter results")
	}
	advice = append(advice, "have fewer steps, sidecars and init containers in the pod")
	if !w.config.Compress && !w.config.MayCompress {
		if text, err := m.With(carriers, true); err == nil && len(text) <= limit {
			advice = append(advice, "set enable-termination-message-compression")
		}
	}
	return tooLong{needs: needs, limit: limit, share: w.config.Share, advice: strings.Join(advice, ", or ")}
}

// logLost logs that the kubelet will cut the message, which Tekton then treats as that of a step without
// results.
func (w wrapper) logLost(size int) {
	if size > w.config.Share {
		w.say("the results are lost: they need %d bytes, and the kubelet cuts the termination message after %d, for all "+
			"containers of a "+
			"pod share 12288; emit fewer or shorter results, or have fewer steps, sidecars and init containers in the pod",
			size, w.config.Share)
	}
}
