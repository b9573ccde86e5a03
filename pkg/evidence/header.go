// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func headerOf(h signing.Header) *Header {
	return &Header{
		Scheme:    Code{Value: uint8(h.Scheme), Meaning: cmp.Or(h.Scheme.Words(), unknown)},
		Backend:   h.Scheme.Backend(),
		Algorithm: Code{Value: uint8(h.Algorithm), Meaning: algorithmText(h.Algorithm)},
		Flags:     Flags{Value: uint8(h.Flags), Meanings: flagTexts(h.Flags)},
		PodUID:    h.PodUID.String(), TaskRunUID: h.TaskRunUID.String(), SignedAt: timeText(h.SignedAt),
		Index: h.Index, Count: h.Count, Entries: h.Entries,
	}
}

// unknown is shown for a number without a meaning in the format.
const unknown = "unknown"

func algorithmText(a signing.Algorithm) string {
	switch a {
	case signing.AlgorithmNone:
		return "none, the token vouches for the digest itself"
	case signing.AlgorithmECDSAP256:
		return "ECDSA P-256 with SHA-256"
	case signing.AlgorithmEd25519:
		return "Ed25519"
	case signing.AlgorithmRSA:
		return "RSASSA-PKCS1-v1_5 with SHA-256"
	}
	return unknown
}

func flagTexts(f signing.Flags) []string {
	var texts []string
	for bit := signing.Flags(1); bit != 0; bit <<= 1 {
		if !f.Has(bit) {
			continue
		}
		switch bit {
		case signing.FlagLast:
			texts = append(texts, "the pod's last step")
		case signing.FlagSidecarLogs:
			texts = append(texts, "values travel by the log of the results sidecar")
		case signing.FlagStepFails:
			texts = append(texts, "the step fails the TaskRun")
		default:
			texts = append(texts, fmt.Sprintf("%s bit %#02x", unknown, uint8(bit)))
		}
	}
	return texts
}

// timeText returns t in RFC 3339 form, UTC, or its number of seconds if the form cannot express the year.
func timeText(t time.Time) string {
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return strconv.FormatInt(t.Unix(), 10) + " seconds since 1970"
	}
	return t.Format(time.RFC3339)
}
