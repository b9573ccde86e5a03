// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// noise returns text that does not compress.
func noise(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		sum := sha512.Sum512(fmt.Append(nil, i))
		b.WriteString(base64.RawStdEncoding.EncodeToString(sum[:]))
	}
	return b.String()[:n]
}

// TestRunRoom tests messages of several lengths with the current share and with that of a pod with one more
// container. A message with this evidence is about 290 bytes longer.
func TestRunRoom(t *testing.T) {
	flat := func(n int) string { return strings.Repeat("y", n) }
	for name, c := range map[string]struct {
		value       string // of the result; empty for no result
		share, room int
		may         bool // compress
		required    bool
		manifest    string // its beginning
		compressed  bool
		most        int    // maximum length of the message in bytes
		line        string // part of a line in the log
	}{
		"there is room":                     {flat(1000), 4096, 3072, true, false, "v2:", false, 1500, ""},
		"compressed for one more container": {flat(2900), 4096, 3072, true, false, "v2:", true, 500, ""},
		"compressed for its own share":      {flat(2980), 2457, 2048, true, false, "v2:", true, 500, ""},
		"results go first": {
			noise(2900), 4096, 3072, true, false, "none:too-long", false, 3072, "would be 3072: the results go first",
		},
		"results go first, not compressed": {
			flat(2900), 4096, 3072, false, false, "none:too-long", false, 3072, "set enable-termination-message-compression",
		},
		"required":                        {noise(2900), 4096, 3072, true, true, "v2:", false, 4096, ""},
		"required, not compressed":        {flat(2900), 4096, 3072, false, true, "v2:", false, 4096, ""},
		"results have no room themselves": {noise(3300), 4096, 3072, false, false, "v2:", false, 4096, ""},
		"nothing to lose":                 {"", 400, 100, false, false, "v2:", false, 400, ""},
		"room is not known":               {flat(2900), 4096, 0, false, false, "v2:", false, 4096, ""},
		"results alone, compressed": {
			flat(2980), 300, 200, true, false, "none:too-long", true, 200, "the termination message needs",
		},
		"lost": {
			noise(3300), 3072, 2457, true, false, "", false, 3500, "the results are lost: they need 34",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.config.Share, b.config.Room, b.config.MayCompress, b.config.Required = c.share, c.room, c.may, c.required
			stock := `[{"key":"StartedAt","value":"2026-11-22T10:00:00.000Z","type":3}]`
			if c.value != "" {
				stock = fmt.Sprintf(`[{"key":"report","value":%q,"type":1},`, c.value) + stock[1:]
			}
			got := b.run(t, "write", b.config.TerminationPath, stock)
			if got.code != 0 || !strings.Contains(got.stderr, c.line) || c.line == "" && got.stderr != "" {
				t.Errorf("outcome %+v, want the line %q", got, c.line)
			}
			text := b.text(t)
			all := parse(t, text)
			if value := all["report"].Value; value != c.value {
				t.Errorf("result of %d bytes, want %d", len(value), len(c.value))
			}
			manifest := all[signing.CarrierManifest].Value
			if !strings.HasPrefix(manifest, c.manifest) || c.manifest == "" && manifest != "" {
				t.Errorf("manifest %q, want %q", manifest, c.manifest)
			}
			if compressed := strings.HasPrefix(text, "tknz:"); compressed != c.compressed || len(text) > c.most {
				t.Errorf("message of %d bytes, compressed %v; want at most %d, %v", len(text), compressed, c.most, c.compressed)
			}
		})
	}
}

// fixedSigner leaves evidence of an ordinary length.
type fixedSigner struct{}

func (fixedSigner) Sign(context.Context, []result.RunResult) ([]result.RunResult, error) {
	return []result.RunResult{
		{Key: signing.CarrierManifest, Value: noise(62), ResultType: result.TaskRunResultType},
		{Key: signing.CarrierToken, Value: noise(1150), ResultType: result.TaskRunResultType},
	}, nil
}

func (fixedSigner) Close() error { return nil }

// TestResultsArrive tries every number of containers with results of many lengths. Results that are not cut
// without the signer must not be cut with it, even after one more container joins the pod.
func TestResultsArrive(t *testing.T) {
	share := func(containers int) int { return min(step.MaxMessage, 12288/containers) }
	file := filepath.Join(t.TempDir(), "message")
	for _, containers := range []int{2, 3, 4, 6, 8, 9, 12} {
		for n := 0; n < 4000; n += 397 {
			for _, value := range []string{noise(n), strings.Repeat("y", n)} {
				for _, may := range []bool{false, true} {
					text := fmt.Sprintf(`[{"key":"report","value":%q,"type":1}]`, value)
					write(t, file, text)
					w := wrapper{
						config: step.Config{
							Share: share(containers), Room: share(containers + 1), MayCompress: may, TerminationPath: file, Count: 1,
						},
						newSigner: func(step.Ended) signing.EntrypointerClient { return fixedSigner{} },
						say:       func(string, ...any) {},
					}
					w.leaveEvidence(t.Context(), 0)
					got, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					for _, cut := range []int{w.config.Share, w.config.Room} {
						if len(text) <= cut && len(got) > cut {
							t.Fatalf("%d containers, result of %d bytes, may compress %v: the message of %d bytes has become one of %d, "+
								"and is cut after %d", containers, n, may, len(text), len(got), cut)
						}
					}
					if parse(t, string(got))["report"].Value != value {
						t.Fatalf("%d containers: the result of %d bytes is another one", containers, n)
					}
				}
			}
		}
	}
}

// TestAdviceIsTrue checks that all advice would help.
func TestAdviceIsTrue(t *testing.T) {
	const byCompression, fewerResults = "enable-termination-message-compression", "emit fewer or shorter results"
	for name, c := range map[string]struct {
		value            string
		compress         bool
		results, tryThat bool // the advice
	}{
		"compression helps":         {strings.Repeat("y", 900), false, true, true},
		"compression does not help": {noise(900), false, true, false},
		"it compresses already":     {noise(900), true, true, false},
		"evidence alone":            {"", false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.config.Share, b.config.Compress = 600, c.compress
			stock := fmt.Sprintf(`[{"key":"report","value":%q,"type":1}]`, c.value)
			if c.value == "" {
				stock, b.config.Share = "", 200
			}
			got := b.run(t, "write", b.config.TerminationPath, stock).stderr
			if !strings.Contains(got, "too-long") || strings.Contains(got, byCompression) != c.tryThat ||
				strings.Contains(got, fewerResults) != c.results {
				t.Errorf("advised %q", got)
			}
		})
	}
}
