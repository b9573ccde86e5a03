// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/signer/internal/message"
	"github.com/tekton-sign/kubectl-tekton-sign/cmd/signer/internal/values"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// leaveEvidence signs what the step emitted and writes the evidence into the termination message. If that
// fails, the results stay as the entrypoint left them, and the reason is added if there is room.
func (w wrapper) leaveEvidence(ctx context.Context, exitCode int32) {
	m, err := w.read()
	if err != nil {
		w.say("step is not signed: %v; its termination message stays as it is, check what writes to %s",
			err, w.config.TerminationPath)
		return
	}
	for _, r := range m.Refused {
		w.logRefused(r)
	}
	text, err := w.signed(ctx, m, exitCode)
	if err != nil {
		text = w.unsigned(m, w.explain(err))
	}
	if text == nil {
		w.logLost(m.Size())
		return
	}
	w.logLost(len(text))
	if err := message.Write(w.config.TerminationPath, text); err != nil {
		w.say("step is not signed: %v", err)
	}
}

func (w wrapper) read() (message.Message, error) {
	text, err := message.Read(w.config.TerminationPath)
	if err != nil {
		return message.Message{}, err
	}
	return message.Parse(text, func(r result.RunResult) bool { return w.isReserved(r.Key) || w.isStray(r) })
}

// isReserved reports whether a name belongs to evidence. A step must not use it.
func (w wrapper) isReserved(name string) bool {
	if w.config.Format == signing.FormatV1 {
		return signing.IsLegacyCarrier(name)
	}
	return signing.IsReserved(name)
}

// isStray reports whether an entry is a value in a message although values travel by the log of Tekton's
// results sidecar. Tekton's entrypoint then writes no values, but Tekton's controller accepts those that the
// step itself wrote.
func (w wrapper) isStray(r result.RunResult) bool {
	return w.config.Values != nil && signing.IsSignedKind(r.ResultType)
}

func (w wrapper) logRefused(r result.RunResult) {
	if w.isReserved(r.Key) {
		w.say("the step itself emitted %s, which is reserved for evidence, and it is removed; rename the result", r.Key)
		return
	}
	w.say("the step itself wrote %s into its termination message, and it is removed; write the result to its file, "+
		"from where "+
		"Tekton's sidecar reads it", r.Key)
}

// signed returns the message with the step's evidence.
func (w wrapper) signed(ctx context.Context, m message.Message, exitCode int32) ([]byte, error) {
	ended := step.Ended{Config: w.config, ExitCode: exitCode, Hasty: w.hurries()}
	if w.config.Values != nil {
		var err error
		if ended.Entries, err = values.Read(*w.config.Values, w.config.Container); err != nil {
			return nil, err
		}
	}
	signer := w.newSigner(ended)
	defer signer.Close()
	carriers, err := signer.Sign(ctx, m.Results)
	if err != nil {
		return nil, err
	}
	text, err := w.encode(m, carriers...)
	if err != nil {
		return nil, err
	}
	if limit := w.limit(m); len(text) > limit {
		return nil, &signing.UnsignedError{
			Reason: signing.UnsignedTooLong, Err: w.newTooLong(m, carriers, len(text), limit),
		}
	}
	return text, nil
}

// unsigned returns the message with the reason why it has no evidence, or nil to keep it as it is.
func (w wrapper) unsigned(m message.Message, reason signing.UnsignedReason) []byte {
	if text := w.noted(m, reason); text != nil {
		return text
	}
	text, err := w.encode(m)
	switch {
	case err != nil:
		return nil
	case len(m.Refused) > 0: // forged evidence must not stay, even if there is no room for the reason
		return text
	case m.Size() > w.room() && len(text) < m.Size():
		return text
	}
	return nil
}

// noted returns the message with the reason after the results, or nil if there is no room for it.
func (w wrapper) noted(m message.Message, reason signing.UnsignedReason) []byte {
	if reason == "" {
		return nil
	}
	note := signing.UnsignedManifest(reason)
	text, err := m.Noted(note, w.config.Compress)
	if err == nil && len(text) > w.room() {
		text, err = w.encode(m, note)
	}
	if err != nil || len(text) > w.limit(m) {
		return nil
	}
	return text
}

// explain logs why the step is not signed and returns the reason for the verifier. The reason is empty for an
// unknown error.
func (w wrapper) explain(err error) signing.UnsignedReason {
	var unsigned *signing.UnsignedError
	if !errors.As(err, &unsigned) {
		w.say("step is not signed: %v; please report it", err)
		return ""
	}
	w.say("step is not signed (%s): %v", unsigned.Reason, unsigned.Err)
	w.remember(unsigned.Reason)
	return unsigned.Reason
}
