// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// installMode allows every user of the pod to run the signer, and only its owner to replace it.
const installMode = 0o755

// install copies the running program to destination. A reader sees the whole file or none.
func install(destination string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the signer's own file: %w", err)
	}
	source, err := os.Open(self)
	if err != nil {
		return fmt.Errorf("reading the signer's own file: %w", err)
	}
	defer source.Close()
	folder := filepath.Dir(destination)
	if err := os.MkdirAll(folder, installMode); err != nil { // #nosec G703 -- the add-on chose the destination
		return fmt.Errorf("installing the signer: %w; mount a writable volume above %s", err, folder)
	}
	file, err := os.CreateTemp(folder, ".signer-*")
	if err != nil {
		return fmt.Errorf("installing the signer: %w; mount a writable volume at %s", err, folder)
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name()) // #nosec G703 -- it was made here, beside the destination that the add-on chose
		}
	}()
	if _, err := io.Copy(file, source); err != nil {
		return fmt.Errorf("installing the signer: %w", err)
	}
	if err := file.Chmod(installMode); err != nil {
		return fmt.Errorf("installing the signer: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("installing the signer: %w", err)
	}
	if err := os.Rename(file.Name(), destination); err != nil { // #nosec G703 -- the injection names the destination
		return fmt.Errorf("installing the signer: %w", err)
	}
	return nil
}
