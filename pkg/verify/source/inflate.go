// SPDX-License-Identifier: Apache-2.0

package source

import (
	"compress/gzip"
	"fmt"
	"io"
)

// Caps of compressed input. TaskRuns shrink to a fifth, a tenth or, if they are unsigned and alike, a
// fiftieth. gzip itself can shrink data to a thousandth.
const (
	maxInflatedFree  = 64 << 20 // the size to which any file may inflate, in bytes
	maxInflatedTimes = 200      // how many times its own size a larger one may inflate to
)

// gzipMagic begins every gzip file (RFC 1952).
var gzipMagic = []byte{0x1f, 0x8b}

// inflate returns the content of a gzip file. Reading it ends with an error if the content is suspiciously
// large.
func inflate(r io.Reader) (io.Reader, error) {
	packed := &counter{r: r}
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("damaged gzip file: %w", err)
	}
	return &inflater{z: z, packed: packed}, nil
}

type inflater struct {
	z      io.Reader
	packed *counter
	n      int64
}

func (i *inflater) Read(p []byte) (int, error) {
	n, err := i.z.Read(p)
	i.n += int64(n)
	if i.n > maxInflatedFree && i.n > maxInflatedTimes*i.packed.n {
		return 0, fmt.Errorf("the gzip file inflates to more than %d times its size: inflate it and check it yourself",
			maxInflatedTimes)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is io.EOF itself
		err = fmt.Errorf("damaged gzip file: %w", err)
	}
	return n, err
}

// counter is a reader that counts the bytes that were read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
