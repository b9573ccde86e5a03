// SPDX-License-Identifier: Apache-2.0

// Package message reads and rewrites a container's termination message, the file in which Tekton's entrypoint
// leaves what a step emitted (pkg/termination of Tekton Pipelines).
package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
)

// Message is a step's termination message.
type Message struct {
	Results []result.RunResult // as Tekton reads them: one for each key, sorted by it
	Refused []result.RunResult // entries that a step must not write; not in Results

	raw []byte // the text as the entrypoint left it
}

// Parse reads text exactly as Tekton's controller does, and separates the refused entries.
func Parse(text []byte, refused func(result.RunResult) bool) (Message, error) {
	all, err := termination.ParseMessage(zap.NewNop().Sugar(), string(text))
	if err != nil {
		return Message{}, fmt.Errorf("expected entries as Tekton's entrypoint writes them, got %s", sample(text))
	}
	m := Message{raw: text}
	for _, r := range all {
		if refused(r) {
			m.Refused = append(m.Refused, r)
			continue
		}
		m.Results = append(m.Results, r)
	}
	return m, nil
}

// Size returns the bytes of the text as the entrypoint left it.
func (m Message) Size() int { return len(m.raw) }

// sample describes text by its length and its beginning. Tekton's own error would repeat much more of it in a
// log.
func sample(text []byte) string {
	const limit = 32
	if len(text) <= limit {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%d bytes that begin with %q", len(text), text[:limit])
}

// With returns a text with the message's results and carriers, in Tekton's compressed form if that is allowed
// and shorter.
func (m Message) With(carriers []result.RunResult, compress bool) ([]byte, error) {
	all := make([]result.RunResult, 0, len(m.Results)+len(carriers))
	return room.Encode(append(append(all, m.Results...), carriers...), compress)
}

// Noted returns the text with one more entry. Unless an entry was refused or the text may be compressed, it
// keeps every byte that the entrypoint wrote.
func (m Message) Noted(note result.RunResult, compress bool) ([]byte, error) {
	array, ok := bytes.CutSuffix(bytes.TrimRight(m.raw, " \t\r\n"), []byte("]"))
	if !ok || compress || len(m.Refused) > 0 || len(m.Results) == 0 {
		return m.With([]result.RunResult{note}, compress)
	}
	b, err := json.Marshal(note)
	if err != nil {
		return nil, fmt.Errorf("encoding the entry %s: %w", note.Key, err)
	}
	return slices.Concat(array, []byte{','}, b, []byte{']'}), nil
}
