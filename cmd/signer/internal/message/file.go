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

// openFlags keep a step from pointing the signer elsewhere by a link, or from making it wait at a pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// Read returns the text in the file, empty if there is none.
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
// The file is a mount of its own, which cannot be replaced by renaming another over it. So the text goes over
// the old one by a single write at the beginning, which the kernel does whole or not at all for a page or
// less, and where the old text was longer the rest of it is blanked by the same write: whoever kills the
// signer at any point leaves a message that parses. Both of Tekton's forms ignore line feeds at the end.
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

// blanked returns text with line feeds up to size, the bytes of a message that it goes over. What is larger
// than a message can be is no message, and nobody reads its end.
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
