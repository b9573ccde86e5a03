// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"
)

// Whatever is accepted, Tekton reads in the same way.
func FuzzParseStored(f *testing.F) {
	for _, s := range []string{
		"", "[]", "null", `[{"key":"a","value":"b","type":1}]`, `[{"key":"a","value":"\ud800","type":4},{"key":"b","value":"","type":6}]`,
		`[{"key":"b","value":"","type":1},{"key":"a","value":"","type":1}]`, `[{"key":"a","value":"","type":"TaskRunResult"}]`,
		"tknz:", "tknz:i44FAA", "tknz:i65WyiypTFWyUkpUqlUqSUzKSS1JBQpAuUA5oEBtLAA",
	} {
		f.Add(s)
	}
	logger := zap.NewNop().Sugar()
	f.Fuzz(func(t *testing.T, message string) {
		got, err := parseStored(message)
		if err != nil {
			return
		}
		want, err := termination.ParseMessage(logger, message)
		if err != nil {
			t.Fatalf("accepted, but Tekton says: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Tekton reads it differently (-Tekton +here):\n%s", diff)
		}
	})
}
