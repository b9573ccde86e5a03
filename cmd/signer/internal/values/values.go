// SPDX-License-Identifier: Apache-2.0

// Package values reads what a step emits if that travels by the log of Tekton's results sidecar: the files
// that the sidecar reads after all steps have ended.
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

// Caps for reading, in bytes. Tekton accepts results of at most 1.5 MB, or less if configured.
const (
	maxFile = 2 << 20
	maxAll  = 16 << 20
)

// artifactsFile is the file with a step's artifacts, in the step's folder (Tekton Pipelines, pkg/entrypoint).
const artifactsFile = "artifacts/provenance.json"

// resultsFolder is the folder with a step's own results, in the step's folder.
const resultsFolder = "results"

// Read returns the entries of a step, in the order of a payload. A file that does not exist has no entry.
// Every error is a *signing.UnsignedError.
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

// reader collects entries until the first error.
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

// validText returns content as it is after a transfer as JSON: each byte that is not UTF-8 becomes U+FFFD.
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
