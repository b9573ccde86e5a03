// SPDX-License-Identifier: Apache-2.0

// Package values reads what a step emits where that travels by the log of Tekton's results sidecar: the files that the
// sidecar reads once all steps have ended.
package values

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"unicode/utf8"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Caps of what is read, in bytes. Tekton takes results of at most 1.5 MB, and may be told to take less.
const (
	maxFile = 2 << 20
	maxAll  = 16 << 20
)

// artifactsFile is where a step leaves its artifacts, in the step's folder (Tekton Pipelines, pkg/entrypoint).
const artifactsFile = "artifacts/provenance.json"

// resultsFolder is where a step leaves its own results, in the step's folder.
const resultsFolder = "results"

// Read returns the entries of a step, in the order of a payload. Files that do not exist are no entries.
// Every failure is an *signing.UnsignedError.
func Read(v step.Values, container string) ([]signing.Entry, error) {
	r := reader{left: maxAll}
	for _, name := range v.Results {
		r.read(result.TaskRunResultType, name, path.Join(v.ResultsDir, name))
	}
	for _, name := range v.StepResults {
		r.read(result.StepResultType, name, path.Join(v.StepDir, resultsFolder, name))
	}
	if v.Artifacts {
		r.read(result.StepArtifactsResultType, container, path.Join(v.StepDir, artifactsFile))
	}
	if r.err != nil {
		return nil, r.err
	}
	signing.SortEntries(r.entries)
	return r.entries, nil
}

// reader gathers entries until the first failure.
type reader struct {
	entries []signing.Entry
	left    int64 // bytes
	err     error
}

func (r *reader) read(kind result.ResultType, name, file string) {
	if r.err != nil {
		return
	}
	content, err := readFile(file, min(maxFile, r.left))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		r.err = err
		return
	}
	r.left -= int64(len(content))
	if e, ok := signing.CanonicalEntry(kind, name, validText(content)); ok {
		r.entries = append(r.entries, e)
	}
}

// validText returns content as it arrives once JSON carried it: each byte that is not UTF-8 becomes U+FFFD.
func validText(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	return string([]rune(string(content)))
}

func tooLong(file string, limit int64) error {
	return &signing.UnsignedError{
		Reason: signing.UnsignedTooLong,
		Err: fmt.Errorf("%s: expected at most %d bytes, got more; emit less, a step may emit %d bytes in all and %d a result",
			file, limit, maxAll, maxFile),
	}
}

func unreadable(file string, err error) error {
	return &signing.UnsignedError{
		Reason: signing.UnsignedUnreadable,
		Err: fmt.Errorf("%s: %w; results are regular files, not links, that the user of the step and of the last step "+
			"may read",
			file, err),
	}
}
