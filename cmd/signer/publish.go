// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// failedSuffix marks the post file of a step that failed (pkg/entrypoint of Tekton Pipelines).
const failedSuffix = ".err"

// publish renames the entrypoint's private post file to the name for which the next step waits. If the
// entrypoint died without writing a post file, there is none, as without a signer.
func (w wrapper) publish() {
	if w.config.PostFile == "" {
		return
	}
	private := step.PrivatePostFile(w.config.PostFile)
	for _, suffix := range []string{"", failedSuffix} {
		err := os.Rename(private+suffix, w.config.PostFile+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.say("the next step cannot start: %v", err)
		}
	}
}
