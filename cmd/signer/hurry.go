// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// noTokenFile marks a step that got no identity. It is next to the step's post file: only the step's own
// container can write there, and later steps can read it. A hostile step can write it as well, so later steps
// do not trust it. They only shorten their attempt: they ask once, and sign if they get one.
const noTokenFile = "tekton-sign-no-token"

// hurries reports whether an earlier step of the pod got no identity. Otherwise, the pod would wait as long
// again for each step.
func (w wrapper) hurries() bool {
	for i := range int(w.config.Index) {
		if dir := w.folder(i); dir != "" {
			if _, err := os.Lstat(filepath.Join(dir, noTokenFile)); err == nil {
				return true
			}
		}
	}
	return false
}

// remember leaves the mark for later steps, if the reason also applies to them.
func (w wrapper) remember(reason signing.UnsignedReason) {
	if !reason.Lasts() {
		return
	}
	if dir := w.folder(int(w.config.Index)); dir != "" {
		// A step may have created a link or a pipe there.
		const flags = os.O_CREATE | os.O_WRONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
		file, err := os.OpenFile(filepath.Join(dir, noTokenFile), flags, 0o644) // #nosec G302 -- for other users
		if err == nil {
			file.Close()
		}
	}
}

// folder returns the folder of a step's post file, /tekton/run/INDEX. It is empty if the post files are
// elsewhere.
func (w wrapper) folder(index int) string {
	own := filepath.Dir(w.config.PostFile)
	if w.config.PostFile == "" || filepath.Base(own) != strconv.Itoa(int(w.config.Index)) {
		return ""
	}
	return filepath.Join(filepath.Dir(own), strconv.Itoa(index))
}
