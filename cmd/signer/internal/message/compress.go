// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"compress/flate"
	"encoding/base64"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// deflate returns text in Tekton's compressed form: the prefix and unpadded standard base64 of raw DEFLATE (RFC 1951).
func deflate(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return base64.RawStdEncoding.AppendEncode([]byte(tekton.CompressedPrefix), b.Bytes()), nil
}
