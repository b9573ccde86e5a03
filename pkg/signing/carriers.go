// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"fmt"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"
)

// Names of the carriers (TEP-0089 and docs/format.md). A carrier is one of these names with result type 1.
const (
	CarrierManifest          = "RESULT_MANIFEST"
	CarrierManifestSignature = "RESULT_MANIFEST.sig"
	CarrierSVID              = "SVID"
	CarrierPublicKey         = "SIGNING_PUBKEY"
	CarrierToken             = "SIGNING_TOKEN"
	CarrierCertificate       = "SIGNING_CERT"
)

// IsReserved reports whether name belongs to a carrier of evidence v2 and may not be the name of a user's result.
func IsReserved(name string) bool {
	switch name {
	case CarrierManifest, CarrierManifestSignature, CarrierSVID, CarrierPublicKey, CarrierToken, CarrierCertificate:
		return true
	}
	return false
}

// IsCarrier reports whether r is signing material: a reserved name of result type 1.
func IsCarrier(r result.RunResult) bool {
	return r.ResultType == result.TaskRunResultType && IsReserved(r.Key)
}

// unsignedPrefix begins a manifest that says why a step carries no signature.
const unsignedPrefix = "none:"

// UnsignedReason says why a step could not sign. It is a claim of the pod, shown and never trusted.
type UnsignedReason string

// The reasons a signer can give.
const (
	UnsignedTooLong        UnsignedReason = "too-long"
	UnsignedTokenDenied    UnsignedReason = "token-denied"
	UnsignedAPIUnreachable UnsignedReason = "api-unreachable"
	UnsignedNoCredential   UnsignedReason = "no-credential"
	UnsignedSVIDTimeout    UnsignedReason = "svid-timeout"
	UnsignedFulcio         UnsignedReason = "fulcio"
	UnsignedReserved       UnsignedReason = "reserved"
	UnsignedUnreadable     UnsignedReason = "unreadable"
)

// UnsignedAnnotation of a pod holds in words why the add-on did not make it sign. It is for people: whoever may write the pod may
// have set it.
const UnsignedAnnotation = "tekton-sign.dev/unsigned"

// UnsignedReasons lists every reason.
func UnsignedReasons() []UnsignedReason {
	return []UnsignedReason{
		UnsignedTooLong, UnsignedTokenDenied, UnsignedAPIUnreachable, UnsignedNoCredential,
		UnsignedSVIDTimeout, UnsignedFulcio, UnsignedReserved, UnsignedUnreadable,
	}
}

// UnsignedError is the failure of a signer that has a reason to leave behind in place of evidence.
type UnsignedError struct {
	Reason UnsignedReason
	Err    error
}

func (e *UnsignedError) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *UnsignedError) Unwrap() error { return e.Err }

// UnsignedManifest returns the manifest of a step that could not sign.
func UnsignedManifest(reason UnsignedReason) result.RunResult {
	return result.RunResult{
		Key: CarrierManifest, Value: unsignedPrefix + string(reason), ResultType: result.TaskRunResultType,
	}
}

// ParseUnsignedManifest returns the reason in a manifest written by UnsignedManifest. It is false for every other value,
// also for a reason that no signer gives.
func ParseUnsignedManifest(value string) (UnsignedReason, bool) {
	reason, ok := strings.CutPrefix(value, unsignedPrefix)
	if !ok {
		return "", false
	}
	for _, known := range UnsignedReasons() {
		if reason == string(known) {
			return known, true
		}
	}
	return "", false
}
