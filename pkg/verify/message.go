// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
)

// Caps of termination messages: the inflated size of one (as in Tekton's pkg/termination), the number of its
// entries, and the size of all messages together, in bytes.
const (
	maxInflated = 128 << 10
	maxEntries  = 4096
	// Of all steps and attempts together. A pod's messages are 12 KiB at most before they are inflated.
	maxMessages = 1 << 20
)

// storedEntry is an entry of a message as Tekton's controller stores it. The type is a plain number:
// result.ResultType also reads names, which Tekton does not write.
type storedEntry struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Type  int    `json:"type"`
}

// parseStored reads a message as Tekton's controller writes it into status.steps[].terminated.message:
// entries with unique, sorted keys, without those that are meant for Tekton itself. Any other message did not
// come from Tekton.
func parseStored(message string) ([]result.RunResult, error) {
	if message == "" {
		return nil, nil
	}
	if len(message) > maxMessages {
		return nil, fmt.Errorf("expected at most %d bytes, got %d", maxMessages, len(message))
	}
	text := []byte(message)
	if encoded, ok := strings.CutPrefix(message, tekton.CompressedPrefix); ok {
		inflated, err := inflate(encoded)
		if err != nil {
			return nil, err
		}
		text = inflated
	}
	stored, plain := parsePlain(text)
	if !plain {
		if err := strictjson.Decode(text, &stored); err != nil {
			return nil, fmt.Errorf("not JSON as Tekton writes it: %w", err)
		}
	}
	if len(stored) == 0 || len(stored) > maxEntries {
		return nil, fmt.Errorf("expected 1 to %d entries, got %d", maxEntries, len(stored))
	}
	results := make([]result.RunResult, len(stored))
	for i, e := range stored {
		if i > 0 && e.Key <= stored[i-1].Key {
			return nil, fmt.Errorf("expected unique keys in their order, got %q after %q", e.Key, stored[i-1].Key)
		}
		kind := result.ResultType(e.Type)
		switch kind {
		case result.TaskRunResultType, result.StepResultType, result.StepArtifactsResultType,
			result.TaskRunArtifactsResultType:
		default:
			return nil, fmt.Errorf("entry %q is of the unknown type %d", e.Key, kind)
		}
		results[i] = result.RunResult{Key: e.Key, Value: e.Value, ResultType: kind}
	}
	return results, nil
}

// message reads the message of a step. It accepts a compressed message only if the TaskRun shows that Tekton
// told its entrypoints to compress. Tekton's controller stores messages inflated, so a compressed one
// elsewhere did not come from Tekton.
func (r *stepReader) message(state *v1.StepState) ([]result.RunResult, error) {
	text := state.Terminated.Message
	if p := r.tr.Status.Provenance; strings.HasPrefix(text, tekton.CompressedPrefix) &&
		(p == nil || p.FeatureFlags == nil || !p.FeatureFlags.EnableTerminationMessageCompression) {
		return nil, fmt.Errorf("a compressed message, although Tekton's entrypoint was not told to compress")
	}
	if r.budget.messages > maxMessages {
		return nil, fmt.Errorf("more than %d bytes in the messages of all steps", maxMessages)
	}
	results, err := parseStored(text)
	r.budget.messages += sizeOf(results)
	return results, err
}

// brokenMessage explains a message that cannot be read. If it ends in the middle, at the kubelet's limit, the
// kubelet cut it: nobody need have tampered with it.
func (r *stepReader) brokenMessage(text string) string {
	const changed = "the step's termination message was cut off or changed"
	begun := strings.HasPrefix(text, tekton.CompressedPrefix) ||
		strings.HasPrefix(text, "[") && !strings.HasSuffix(text, "]")
	whole := strings.TrimRight(text, "\ufffd") // half a character in UTF-8
	if !begun || len(whole) == 0 {
		return changed
	}
	fewest := 1 + len(r.tr.Status.Steps) + len(r.tr.Status.Sidecars) // with Tekton's own init container
	for containers := fewest; containers <= fewest+maxMoreContainers; containers++ {
		share := room.Share(containers)
		if len(whole) <= share && len(whole) > share-utf8.UTFMax && (len(whole) == share || len(whole) < len(text)) {
			return fmt.Sprintf("the step's termination message was too long: it ends after %d bytes, where the kubelet cuts "+
				"those of a "+
				"pod with %d containers; emit fewer or shorter results, or have fewer steps, sidecars and init containers", share,
				containers)
		}
	}
	return changed
}

// maxMoreContainers is how many containers a pod may have that the status of its TaskRun does not show: init
// containers, and those of other webhooks.
const maxMoreContainers = 32

// sizeOf returns about how many bytes results take in a message.
func sizeOf(results []result.RunResult) int {
	const entry = len(`{"key":"","value":"","type":1},`)
	n := 0
	for _, r := range results {
		n += entry + len(r.Key) + len(r.Value)
	}
	return n
}

func inflate(encoded string) ([]byte, error) {
	packed, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("decoding the compressed message: %w", err)
	}
	if base64.RawStdEncoding.EncodeToString(packed) != encoded { // the decoder skips line breaks
		return nil, fmt.Errorf("decoding the compressed message: not canonical base64")
	}
	rest := bytes.NewReader(packed)
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(rest), maxInflated+1))
	if err != nil {
		return nil, fmt.Errorf("inflating the compressed message: %w", err)
	}
	switch {
	case len(text) > maxInflated:
		return nil, fmt.Errorf("the compressed message inflates to more than %d bytes", maxInflated)
	case rest.Len() > 0:
		return nil, fmt.Errorf("%d bytes follow on the compressed message", rest.Len())
	}
	return text, nil
}
