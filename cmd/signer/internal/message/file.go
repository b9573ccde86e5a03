// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// openFlags prevent a step from redirecting the signer with a link, or from blocking it with a pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// Read returns the text in the file. It is empty if the file does not exist.
func Read(path string) ([]byte, error) {
	f, _, err := open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the termination message: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, step.MaxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("reading the termination message: %w", err)
	}
	if len(b) > step.MaxMessage {
		return nil, fmt.Errorf("expected a termination message of at most %d bytes, got more", step.MaxMessage)
	}
	return b, nil
}

// Write replaces the text in the file.
//
// The file is a separate mount, so another file cannot replace it by renaming. Write overwrites the old text
// with a single write at the beginning, which the kernel does completely or not at all for a page or less. If
// the old text was longer, the same write blanks the rest of it. If the signer is killed at any point, the
// message can still be parsed. Both of Tekton's forms ignore line feeds at the end.
func Write(path string, text []byte) error {
	f, size, err := open(path, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("opening the termination message: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(blanked(text, size), 0); err != nil {
		return fmt.Errorf("writing the termination message: %w", err)
	}
	if err := f.Truncate(int64(len(text))); err != nil {
		return fmt.Errorf("shortening the termination message: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing the termination message: %w", err)
	}
	return f.Close()
}

// blanked returns text with line feeds up to size, the length of the text that it overwrites. It adds none
// beyond the maximum size of a message, because no one reads that part.
func blanked(text []byte, size int64) []byte {
	rest := size - int64(len(text))
	if rest <= 0 || size > step.MaxMessage {
		return text
	}
	return append(bytes.Clone(text), bytes.Repeat([]byte("\n"), int(rest))...)
}

// open opens a regular file and returns its size in bytes.
func open(path string, flags int) (*os.File, int64, error) {
	f, err := os.OpenFile(path, flags|openFlags, 0o666) // #nosec G302 -- as stock Tekton and the kubelet do
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
