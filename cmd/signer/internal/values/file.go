// SPDX-License-Identifier: Apache-2.0

package values

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readFile returns the content of a regular file of at most limit bytes. No part of its path may be a link,
// because a link could lead to another file in the step's container than in the sidecar's.
func readFile(file string, limit int64) ([]byte, error) {
	f, err := open(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, unreadable(file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(file, err)
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(file, fmt.Errorf("expected a regular file, got %v", info.Mode()))
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, unreadable(file, err)
	}
	if int64(len(content)) > limit {
		return nil, tooLong(file, limit)
	}
	return content, nil
}

// open opens a clean absolute path, part by part.
func open(file string) (*os.File, error) {
	parts := strings.Split(strings.TrimPrefix(file, "/"), "/")
	folder, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { unix.Close(folder) }()
	for _, part := range parts[:len(parts)-1] {
		next, err := openat(folder, part, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		unix.Close(folder)
		folder = next
	}
	// A pipe must not block the signer.
	fd, err := openat(folder, parts[len(parts)-1], unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), file), nil
}

func openat(folder int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(folder, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
