// SPDX-License-Identifier: Apache-2.0

package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Cached reports whether the cache has the binary, so that Build takes no time.
func (b Builder) Cached(ctx context.Context, binary Binary) (bool, error) {
	path, _, _, err := b.locate(ctx, binary)
	if err != nil {
		return false, err
	}
	_, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// locate returns the path of a binary in the cache, with the version and the flags from which it is built.
func (b Builder) locate(ctx context.Context, binary Binary) (path, version string, flags []string, err error) {
	folder := filepath.Join(b.Tools, binary.Tools)
	if version, err = goOutput(ctx, folder, "list", "-m", "-f", "{{.Version}}", binary.Module); err != nil {
		return "", "", nil, err
	}
	flags = buildFlags(binary, version)
	key, err := b.key(ctx, folder, append(flags, binary.Package))
	if err != nil {
		return "", "", nil, err
	}
	name := fmt.Sprintf("%s-%s-%s", binary.Tools, version, key)
	return filepath.Join(b.Cache, "bin", name, binary.Name), version, flags, nil
}
