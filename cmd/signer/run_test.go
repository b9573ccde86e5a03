// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// stockMessage is the message of the entrypoint for a step with one result.
const stockMessage = `[{"key":"digest","value":"sha256:aaa","type":1},` +
	`{"key":"StartedAt","value":"2026-11-22T10:00:00.000Z","type":3}]`

// digestEntry returns the entries of stockMessage for which a unit vouches.
func digestEntry() []signing.Entry {
	return []signing.Entry{{Kind: result.TaskRunResultType, Name: "digest", Value: "sha256:aaa"}}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRunSigns(t *testing.T) {
	for name, c := range map[string]struct {
		message    string
		operations []string
		code       int
		recorded   int32 // the exit code in the unit
		flags      signing.Flags
		entries    []signing.Entry
	}{
		"a step with results": {stockMessage, nil, 0, 0, signing.FlagLast, digestEntry()},
		"a silent step":       {"", nil, 0, 0, signing.FlagLast, []signing.Entry{}},
		"a failed step": {
			stockMessage, []string{"exit", "3"}, 3, 3, signing.FlagLast | signing.FlagStepFails, digestEntry(),
		},
		"a killed entrypoint": {
			"", []string{"die", "9"}, 137, 137, signing.FlagLast | signing.FlagStepFails, []signing.Entry{},
		},
		"onError continue": {`[{"key":"ExitCode","value":"3","type":3}]`, nil, 0, 3, signing.FlagLast, []signing.Entry{}},
		"doubled keys": {
			`[{"key":"digest","value":"old","type":1},` + stockMessage[1:], nil, 0, 0, signing.FlagLast, digestEntry(),
		},
		"no array":             {"null", nil, 0, 0, signing.FlagLast, []signing.Entry{}},
		"compressed by itself": {deflated(t, stockMessage), nil, 0, 0, signing.FlagLast, digestEntry()},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			got := b.run(t, append([]string{"write", b.config.TerminationPath, c.message}, c.operations...)...)
			if want := (outcome{code: c.code}); got != want {
				t.Errorf("outcome %+v, want %+v", got, want)
			}
			if diff := cmp.Diff(c.entries, b.signedEntries(t, c.recorded)); diff != "" {
				t.Errorf("entries differ (-want +got):\n%s", diff)
			}
			header, err := signing.ParseManifest(parse(t, b.text(t))[signing.CarrierManifest].Value)
			if err != nil {
				t.Fatal(err)
			}
			if header.Flags != c.flags {
				t.Errorf("flags %b, want %b", header.Flags, c.flags)
			}
		})
	}
}

// deflated returns text as Tekton itself compresses it.
func deflated(t *testing.T, text string) string {
	t.Helper()
	results, err := termination.ParseMessage(zap.NewNop().Sugar(), text)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "message")
	if err := termination.WriteCompressedMessage(file, results); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRunKeepsInternalEntries(t *testing.T) {
	b := newBench(t)
	b.run(t, "write", b.config.TerminationPath, stockMessage)
	want := result.RunResult{Key: "StartedAt", Value: "2026-11-22T10:00:00.000Z",
		ResultType: result.InternalTektonResultType}
	if diff := cmp.Diff(want, parse(t, b.text(t))["StartedAt"]); diff != "" {
		t.Errorf("entry differs (-want +got):\n%s", diff)
	}
}

func TestRunPassesStreamsEnvironmentAndFolder(t *testing.T) {
	b := newBench(t)
	b.environment = append(b.environment, "STEP=is free")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got := b.run(t, "echo", "eprint", "to stderr", "print", "; ", "env", "STEP", "print", "; ", "cwd")
	want := outcome{stdout: "from stdin; is free; " + dir, stderr: "to stderr"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("outcome differs (-want +got):\n%s", diff)
	}
}

func TestRunCannotStart(t *testing.T) {
	b := newBench(t)
	for _, entrypoint := range []string{"/does/not/exist", b.config.TerminationPath} {
		b.entrypoint = entrypoint
		got := b.run(t)
		if got.code != 127 || !strings.HasPrefix(got.stderr, "tekton-sign: starting "+entrypoint) {
			t.Errorf("outcome %+v, want code 127 and the reason", got)
		}
		if strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("stderr %q, want one line", got.stderr)
		}
	}
}
