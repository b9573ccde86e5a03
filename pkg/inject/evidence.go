// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// TokenForm holds the parts of tokens whose length differs between clusters. The zero value means unknown.
type TokenForm struct {
	Issuer    string
	KeyID     int // bytes
	Signature int // characters of base64url
}

func (f TokenForm) known() bool { return f.Issuer != "" && f.Signature > 0 }

// Placeholders for values that are not known before the step has ended. Except in small clusters, names of
// nodes are longer.
const (
	anyUID  = "00000000-0000-4000-8000-000000000000"
	anyNode = "0123456789"
	anyTime = 1795341966
)

// size returns the bytes of a token of the pod for an audience of n bytes (Kubernetes 1.30 and later).
func (f TokenForm) size(pod *corev1.Pod, n int) int {
	account := cmp.Or(pod.Spec.ServiceAccountName, "default")
	named := func(name string) map[string]string { return map[string]string{"name": name, "uid": anyUID} }
	claims, err := json.Marshal(map[string]any{
		"aud": []string{strings.Repeat("a", n)}, "exp": anyTime, "iat": anyTime, "nbf": anyTime, "iss": f.Issuer,
		"jti": anyUID,
		"sub": "system:serviceaccount:" + pod.Namespace + ":" + account,
		"kubernetes.io": map[string]any{
			"namespace": pod.Namespace, "node": named(anyNode), "pod": named(pod.Name), "serviceaccount": named(account),
		},
	})
	if err != nil {
		return 0 // names always encode
	}
	header := len(`{"alg":"RS256","kid":""}`) + f.KeyID
	return base64.RawURLEncoding.EncodedLen(header) + 1 + base64.RawURLEncoding.EncodedLen(len(claims)) + 1 + f.Signature
}

// leastSVID is the length of an SVID on P-256 in DER without the names of trust domain, namespace and TaskRun. One
// with an RSA key, or with intermediate certificates, is up to three times as long.
const leastSVID = 500

// Sizes of the parts of every message besides the values.
const (
	sizeEntry     = len(`{"key":"","value":"","type":1},`)
	sizeStarted   = sizeEntry + len("StartedAt") + len("2006-01-02T15:04:05.000Z")
	sizeManifest  = 62  // in format v2; in format v1 it holds the names of the results
	sizePublicKey = 122 // of P-256, in base64url
	sizeSignature = 86  // by such a key
)

// evidenceSize returns an estimate of how many bytes the message of a step takes that emits nothing, or 0 if
// unknown. The estimate is low on purpose: evidence that does not fit by it never fits.
func evidenceSize(pod *corev1.Pod, options step.Options, tokens TokenForm) int {
	entry := func(key string, n int) int { return sizeEntry + len(key) + n }
	if options.Backend == signing.BackendSPIRE && options.Format == signing.FormatV2 {
		names := len(options.SPIRE.TrustDomain) + len(pod.Namespace) + len(pod.Name)
		svid := base64.RawURLEncoding.EncodedLen(leastSVID + names)
		return len("[]") - len(",") + sizeStarted + entry(signing.CarrierManifest, sizeManifest) +
			entry(signing.CarrierManifestSignature, sizeSignature) + entry(signing.CarrierSVID, svid)
	}
	if !tokens.known() || !options.Backend.HasBindings() {
		return 0
	}
	audience := len(options.AudiencePrefix)
	if options.Binding != signing.BindingAudience {
		audience = len(signing.PayloadAudience(options.AudiencePrefix, signing.Digest{}))
	}
	size := len("[]") - len(",") + sizeStarted + entry(signing.CarrierToken, tokens.size(pod, audience))
	size += entry(signing.CarrierManifest, 0)
	if options.Format == signing.FormatV2 {
		size += sizeManifest
	}
	if options.Binding != signing.BindingPayload {
		size += entry(signing.CarrierManifestSignature, sizeSignature) + entry(signing.CarrierPublicKey, sizePublicKey)
	}
	return size
}
