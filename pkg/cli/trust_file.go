// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// readBundle reads a trust bundle file, or standard input for "-", and returns its bytes as well.
func readBundle(ctx context.Context, stdin io.Reader, name string) (*trust.Bundle, []byte, error) {
	data, err := readBundleBytes(ctx, stdin, name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the trust bundle: %w", err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return bundle, data, nil
}

// readBundleBytes reads no more than the largest trust bundle has. To open or read a pipe can block for ever, so this
// returns when ctx ends.
func readBundleBytes(ctx context.Context, stdin io.Reader, name string) ([]byte, error) {
	type content struct {
		data []byte
		err  error
	}
	done := make(chan content, 1)
	go func() {
		in := stdin
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				done <- content{err: err}
				return
			}
			defer f.Close()
			in = f
		}
		data, err := io.ReadAll(io.LimitReader(in, trust.MaxBytes+1))
		done <- content{data, err}
	}()
	select {
	case c := <-done:
		return c.data, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", name, ctx.Err())
	}
}

// writeBundle writes a bundle to the file called output, or to standard output, and describes it on standard error. It
// replaces an existing file if no key gets lost. inputs are the files that went into the bundle.
func (e *env) writeBundle(ctx context.Context, bundle *trust.Bundle, output string, inputs []string) error {
	data, err := bundle.Marshal()
	if err != nil {
		return err
	}
	if len(data) > trust.MaxBytes {
		return fmt.Errorf("the trust bundle would have %d bytes, more than the %d that can be read: "+
			"keep the clusters in several bundles", len(data), trust.MaxBytes)
	}
	digest := trust.SHA256(data)
	if output == "" || output == "-" {
		if _, err := e.Out.Write(data); err != nil {
			return err
		}
		fmt.Fprintf(e.ErrOut, "%s, SHA-256 %s\n", summary(bundle), digest)
		return nil
	}
	replaced, err := mayReplace(ctx, output, bundle, inputs)
	if err != nil {
		return err
	}
	if err := writeWhole(output, data); err != nil {
		return fmt.Errorf("writing the trust bundle: %w", err)
	}
	verb := "wrote"
	if replaced {
		verb = "replaced"
	}
	fmt.Fprintf(e.ErrOut, "%s %s: %s, SHA-256 %s\n", verb, display.Safe(output), summary(bundle), digest)
	return nil
}

// mayReplace reports whether there is a file to replace. It is an error if something would get lost.
func mayReplace(ctx context.Context, output string, bundle *trust.Bundle, inputs []string) (bool, error) {
	info, err := os.Stat(output)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("writing the trust bundle: %w", err)
	}
	for _, input := range inputs {
		if other, err := os.Stat(input); err == nil && os.SameFile(info, other) {
			return true, nil
		}
	}
	old, _, err := readBundle(ctx, nil, output)
	if err != nil {
		return false, fmt.Errorf("%s exists and is not a trust bundle, so it was not replaced: "+
			"name another file, or remove it: %w", output, err)
	}
	both, err := trust.Merge(bundle, old)
	if err != nil {
		return false, fmt.Errorf("%s exists with other keys, so it was not replaced: name another file: %w", output, err)
	}
	if lost := keyCount(both) - keyCount(bundle); lost > 0 {
		return false, fmt.Errorf("%s exists and has %d key(s) that would be lost, so it was not replaced: "+
			"write another file, and join the two with trust merge", output, lost)
	}
	return true, nil
}

// keyCount counts the keys of all clusters.
func keyCount(b *trust.Bundle) int {
	all, _ := b.CountKeys()
	return all
}

// writeWhole replaces a file at once: a reader sees the old or the new one, also after a crash. A pipe or a device is
// written to directly.
func writeWhole(path string, data []byte) error {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, data, 0o644) // #nosec G306 -- public keys, which everybody may read
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".trust-bundle-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // after the rename this does nothing
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
