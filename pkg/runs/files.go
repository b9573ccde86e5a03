// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// fileName matches the files in a folder that are read.
var fileName = regexp.MustCompile(`\.(json|jsonl|ndjson|yaml|yml)(\.gz)?$`)

// remote matches addresses that kubectl would fetch.
var remote = regexp.MustCompile(`^https?://`)

// FromFiles returns the objects of all files, in the order of the arguments. The name - is stdin.
func (s Selection) FromFiles(stdin io.Reader) iter.Seq[Subject] {
	return func(yield func(Subject) bool) {
		for _, name := range s.Files {
			for file, problem := range s.expand(name) {
				if problem != nil && !yield(*problem) || problem == nil && !readFile(stdin, file, yield) {
					return
				}
			}
		}
	}
}

// expand returns the file called name, or the files in the folder called name. An unreadable one becomes a failing
// subject.
func (s Selection) expand(name string) iter.Seq2[string, *Subject] {
	return func(yield func(string, *Subject) bool) {
		switch {
		case remote.MatchString(name):
			yield(name, failing(name, errors.New("expected a file, got an address: download it and check it first")))
			return
		case !IsFolder(name):
			yield(name, nil)
			return
		}
		read, passed := 0, 0
		stopped := errors.New("stopped")
		err := filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
			more := true
			switch {
			case err != nil:
				more = yield(path, failing(path, plainPathError(err)))
			case entry.IsDir() && path != name && !s.Recursive:
				return fs.SkipDir
			case entry.IsDir():
			case !fileName.MatchString(path) || !isRegular(path):
				passed++
			default:
				read++
				more = yield(path, nil)
			}
			if !more {
				return stopped
			}
			return nil
		})
		switch {
		case errors.Is(err, stopped):
		case read == 0:
			yield(name, failing(name, errors.New(
				"expected a file that ends in .json, .jsonl, .ndjson, .yaml or .yml, found none")))
		case passed > 0:
			yield(name, &Subject{Note: fmt.Sprintf("%s: %d files with other names were skipped", name, passed)})
		}
	}
}

func failing(place string, err error) *Subject {
	return &Subject{Place: place, Read: func() (*v1.TaskRun, error) { return nil, err }}
}

// readFile yields the objects of one file. It reports whether to go on.
func readFile(stdin io.Reader, name string, yield func(Subject) bool) bool {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return yield(*failing(name, plainPathError(err)))
		}
		defer f.Close()
		r = f
	}
	for object := range source.Read(r) {
		place := name
		if object.Place != "" {
			place += ", " + object.Place
		}
		if !yield(Subject{Place: place, Read: object.TaskRun, JSON: object.JSON, Size: object.Size()}) {
			return false
		}
	}
	return true
}

// plainPathError returns the error without its path, which the message already has.
func plainPathError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// IsFolder reports whether name is a folder.
func IsFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// isRegular reports whether reading a file cannot block or go on for ever.
func isRegular(name string) bool {
	info, err := os.Stat(name)
	return err != nil || info.Mode().IsRegular()
}
