// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"
)

// LegacySuffix ends the name of a signature in format v1.
const LegacySuffix = ".sig"

// LegacyManifest returns the manifest of format v1 over results: the names of the task results, joined by commas.
func LegacyManifest(results []result.RunResult) string {
	var names []string
	for _, r := range results {
		if r.ResultType == result.TaskRunResultType && !IsLegacyCarrier(r.Key) {
			names = append(names, r.Key)
		}
	}
	return strings.Join(names, ",")
}

// IsLegacyCarrier reports whether name belongs to signing material of format v1: a reserved name, or any signature.
func IsLegacyCarrier(name string) bool {
	return IsReserved(name) || strings.HasSuffix(name, LegacySuffix)
}

// SignLegacy returns the manifest and the signatures of format v1 (TEP-0089, Tekton's own signer): one
// signature for each task result's value and one for the manifest. The names of the results are not signed
// with their values. For a value that is a message of format v2, it returns an *UnsignedError, because the
// signature would also be one of that format.
func SignLegacy(random io.Reader, key crypto.Signer, results []result.RunResult) ([]result.RunResult, error) {
	var signed []result.RunResult
	add := func(name, value string) error {
		signature, err := SignLegacyValue(random, key, value)
		if err != nil {
			return fmt.Errorf("signing %s: %w", name, err)
		}
		signed = append(signed, NewCarrier(name+LegacySuffix, signature))
		return nil
	}
	for _, r := range results {
		if r.ResultType != result.TaskRunResultType || IsLegacyCarrier(r.Key) {
			continue
		}
		value := LegacyValue(r.Value)
		if strings.HasPrefix(value, messagePrefix) {
			return nil, &UnsignedError{Reason: UnsignedReserved, Err: fmt.Errorf(
				"the value of result %q is a message of format v2, for which its signature could be taken; write another value",
				r.Key)}
		}
		if err := add(r.Key, value); err != nil {
			return nil, err
		}
	}
	manifest := LegacyManifest(results)
	signed = append(signed, NewCarrier(CarrierManifest, manifest))
	return signed, add(CarrierManifest, manifest)
}

// SignLegacyValue returns base64 of the signature over the SHA-256 of value, in the form of crypto.Signer:
// ASN.1 for ECDSA.
func SignLegacyValue(random io.Reader, key crypto.Signer, value string) (string, error) {
	sum := sha256.Sum256([]byte(value))
	signature, err := key.Sign(random, sum[:], crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}
