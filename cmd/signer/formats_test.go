// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// withSidecar changes the bench so that values travel by the log of Tekton's results sidecar.
func (b *bench) withSidecar(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	b.config.Values = &step.Values{
		ResultsDir: dir, Results: []string{"digest", "list"}, StepDir: filepath.Join(dir, "status"),
		StepResults: []string{"scan"},
	}
	if err := os.MkdirAll(filepath.Join(dir, "status", "results"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "digest"), "sha256:aaa")
	write(t, filepath.Join(dir, "list"), `[ "a" ]`)
	write(t, filepath.Join(dir, "status", "results", "scan"), "clean")
}

// unitOf returns the unit for which evidence with these entries vouches.
func (b *bench) unitOf(t *testing.T, entries []signing.Entry) signing.Unit {
	t.Helper()
	header, err := signing.ParseManifest(parse(t, b.text(t))[signing.CarrierManifest].Value)
	if err != nil {
		t.Fatalf("%v in the message %s", err, b.text(t))
	}
	return signing.Unit{
		Header: header, Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", Entries: entries,
	}
}

func TestRunSignsWhatTheSidecarReads(t *testing.T) {
	b := newBench(t)
	b.withSidecar(t)
	const stock = `[{"key":"StartedAt","value":"2026-11-22T10:00:00.000Z","type":3}]`
	if got := b.run(t, "write", b.config.TerminationPath, stock); got != (outcome{}) {
		t.Errorf("outcome %+v, want none", got)
	}
	unit := b.unitOf(t, []signing.Entry{
		{Kind: result.TaskRunResultType, Name: "digest", Value: "sha256:aaa"},
		{Kind: result.TaskRunResultType, Name: "list", Value: `["a"]`},
		{Kind: result.StepResultType, Name: "scan", Value: "clean"},
	})
	if want := signing.FlagLast | signing.FlagSidecarLogs; unit.Header.Flags != want || unit.Header.Entries != 3 {
		t.Errorf("flags %b with %d entries, want %b with 3", unit.Header.Flags, unit.Header.Entries, want)
	}
	all := parse(t, b.text(t))
	want := jwt(map[string]any{"aud": []string{signing.PayloadAudience(signing.AudiencePrefix, unit.Digest())}})
	if got := all[signing.CarrierToken].Value; got != want {
		t.Errorf("token %s, want %s", got, want)
	}
	if names := slices.Sorted(maps.Keys(all)); !slices.Equal(names,
		[]string{"RESULT_MANIFEST", "SIGNING_TOKEN", "StartedAt"}) {
		t.Errorf("message with %v, want no value in it", names)
	}
}

// TestRunRemovesStrayValues checks that the signer removes values that the step itself wrote, because Tekton
// would accept them.
func TestRunRemovesStrayValues(t *testing.T) {
	const line = "tekton-sign: the step itself wrote digest into its termination message, and it is removed; "
	for name, share := range map[string]int{"signed": 4096, "unsigned": 200} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withSidecar(t)
			b.config.Share = share
			got := b.run(t, "write", b.config.TerminationPath, stockMessage)
			if got.code != 0 || !strings.HasPrefix(got.stderr, line) {
				t.Errorf("outcome %+v, want a line that begins with %q", got, line)
			}
			all := parse(t, b.text(t))
			if _, ok := all["digest"]; ok || all["StartedAt"].Value == "" {
				t.Errorf("message %s, want it without digest and with StartedAt", b.text(t))
			}
			if got := all[signing.CarrierManifest].Value == "none:too-long"; got != (name == "unsigned") {
				t.Errorf("manifest %q", all[signing.CarrierManifest].Value)
			}
		})
	}
}

func TestRunCannotReadAValue(t *testing.T) {
	b := newBench(t)
	b.withSidecar(t)
	file := filepath.Join(b.config.Values.ResultsDir, "list")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("digest", file); err != nil {
		t.Fatal(err)
	}
	got := b.run(t, "exit", "4")
	if got.code != 4 || !strings.HasPrefix(got.stderr, "tekton-sign: step is not signed (unreadable): "+file) {
		t.Errorf("outcome %+v, want code 4 and the file that cannot be read", got)
	}
	if diff := cmp.Diff(`[{"key":"RESULT_MANIFEST","value":"none:unreadable","type":1}]`, b.text(t)); diff != "" {
		t.Errorf("message differs (-want +got):\n%s", diff)
	}
}

func TestRunSignsFormatV1(t *testing.T) {
	b := newBench(t)
	b.config.Format, b.config.Binding = signing.FormatV1, signing.BindingKey
	forged := `[{"key":"digest.sig","value":"x","type":1},{"key":"other.sig","value":"x","type":4},` + stockMessage[1:]
	got := b.run(t, "write", b.config.TerminationPath, forged)
	if got.code != 0 || strings.Count(got.stderr,
		", which is reserved for evidence, and it is removed; rename the result\n") != 2 {
		t.Errorf("outcome %+v, want two results removed", got)
	}
	all := parse(t, b.text(t))
	want := []string{
		"RESULT_MANIFEST", "RESULT_MANIFEST.sig", "SIGNING_PUBKEY", "SIGNING_TOKEN", "StartedAt", "digest", "digest.sig",
	}
	if names := slices.Sorted(maps.Keys(all)); !slices.Equal(names, want) {
		t.Errorf("message with %v, want %v", names, want)
	}
	if all["digest.sig"].Value == "x" {
		t.Error("the forged signature stays")
	}
}

func TestRunKeepsSignaturesOfUsersInV2(t *testing.T) {
	b := newBench(t)
	b.run(t, "write", b.config.TerminationPath, `[{"key":"digest.sig","value":"x","type":1},`+stockMessage[1:])
	want := append(digestEntry(), signing.Entry{Kind: result.TaskRunResultType, Name: "digest.sig", Value: "x"})
	if diff := cmp.Diff(want, b.signedEntries(t, 0)); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}
