// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// noTokenFile marks a step that got no token, beside its post file: only its own container can write there,
// and later steps can read it. What it says is hearsay, a hostile step may write it. So later steps do not
// believe it, they only hurry: they ask once, and sign if they are answered.
const noTokenFile = "tekton-sign-no-token"

// hurries reports whether an earlier step of the pod got no token. Waiting again would cost the pod as much
// for each step.
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

// remember leaves the mark for later steps, if the reason is one that they would meet as well.
func (w wrapper) remember(reason signing.UnsignedReason) {
	if reason != signing.UnsignedAPIUnreachable && reason != signing.UnsignedTokenDenied {
		return
	}
	if dir := w.folder(int(w.config.Index)); dir != "" {
		// A step may have put a link or a pipe there.
		const flags = os.O_CREATE | os.O_WRONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
		file, err := os.OpenFile(filepath.Join(dir, noTokenFile), flags, 0o644) // #nosec G302 -- for other users
		if err == nil {
			file.Close()
		}
	}
}

// folder returns the folder of a step's post file, /tekton/run/INDEX, empty if the post files are elsewhere.
func (w wrapper) folder(index int) string {
	own := filepath.Dir(w.config.PostFile)
	if w.config.PostFile == "" || filepath.Base(own) != strconv.Itoa(int(w.config.Index)) {
		return ""
	}
	return filepath.Join(filepath.Dir(own), strconv.Itoa(index))
}
