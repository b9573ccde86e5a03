// SPDX-License-Identifier: Apache-2.0

// Package room is the arithmetic of termination messages: how long a container's message may be, how long it is with
// evidence in it, and whether it fits. The injection, the signer and the plugin's command budget share it.
package room

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// AllMessages is how many bytes all termination messages of a pod may have together (Kubernetes, pkg/kubelet).
const AllMessages = 12288

// Share returns how many bytes each container's termination message may have. The kubelet divides AllMessages among
// all containers of the pod, and cuts longer messages.
func Share(containers int) int { return min(step.MaxMessage, AllMessages/max(containers, 1)) }

// Fill is how the signer of one step fills its message.
type Fill struct {
	Share       int  // bytes that the message may have
	Room        int  // bytes that it may have after one more container joins the pod
	Compress    bool // the entrypoint compresses messages, so the signer compresses as well
	MayCompress bool // Tekton reads compressed messages: those that are too long are compressed
	Required    bool // results cannot be used without evidence, so evidence may take all of Share
}

// Text returns the message with these entries. It is compressed if the entrypoint compresses, or if it is too long
// otherwise.
func (f Fill) Text(entries []result.RunResult) ([]byte, error) {
	text, err := Encode(entries, f.Compress)
	if err == nil && f.MayCompress && len(text) > f.Room {
		return Encode(entries, true)
	}
	return text, err
}

// Limit returns how long the message may be with evidence. If a message is cut, its results are lost. So results that
// would arrive without evidence, even after someone adds a container to the pod, must arrive with it, unless they
// cannot be used without evidence. bare are the entries without evidence, and emits is whether results or artifacts
// are among them.
func (f Fill) Limit(bare []result.RunResult, emits bool) int {
	if f.Required || !emits {
		return f.Share
	}
	if text, err := f.Text(bare); err != nil || len(text) > f.Room {
		return f.Share
	}
	return f.Room
}

// Encode returns a message as Tekton reads it, in Tekton's compressed form if that is allowed and shorter.
func Encode(entries []result.RunResult, compress bool) ([]byte, error) {
	text, err := json.Marshal(append([]result.RunResult{}, entries...)) // never null
	if err != nil {
		return nil, fmt.Errorf("encoding the termination message: %w", err)
	}
	if !compress {
		return text, nil
	}
	compressed, err := deflate(text)
	if err != nil {
		return nil, fmt.Errorf("compressing the termination message: %w", err)
	}
	if len(compressed) < len(text) {
		return compressed, nil
	}
	return text, nil
}

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

// Of returns how the signer with this configuration fills its message.
func Of(c step.Config) Fill {
	return Fill{
		Share: c.Share, Room: cmp.Or(c.Room, c.Share), Compress: c.Compress, MayCompress: c.MayCompress, Required: c.Required,
	}
}
