// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
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

// leastSVID is the length of an SVID on P-256 in DER without the names of trust domain, namespace and TaskRun. One
// with an RSA key, or with intermediate certificates, is up to three times as long.
const leastSVID = 500

// Sizes of the parts of evidence by a key on P-256, in bytes.
const (
	sizePublicKey       = 91 // in DER
	sizeSignature       = 64
	sizeLegacySignature = 72 // in DER; at most, and in base64 it is nearly always as long
	rareLegacySignature = 4  // in base64: how much shorter one of a hundred is
)

// Started returns the entry with which Tekton's entrypoint begins every message.
func Started() result.RunResult {
	return result.RunResult{
		Key: "StartedAt", Value: "2006-01-02T15:04:05.000Z", ResultType: result.InternalTektonResultType,
	}
}

// Evidence returns carriers as long as those with which a step of the pod would sign results, on the named node. It
// returns nil if that is not known: the backend leaves nothing in pods, or the form of tokens is unknown. The length is
// exact, except for certificates. The content is noise of the same alphabets, which compresses about as well.
func Evidence(
	pod *corev1.Pod, options step.Options, tokens TokenForm, node string, results []result.RunResult,
) []result.RunResult {
	e := sample{pod: pod, options: options, tokens: tokens, node: cmp.Or(node, anyNode)}
	switch {
	case options.Backend == signing.BackendSPIRE:
		return e.spire(results)
	case options.Backend.HasBindings() && tokens.known():
		return e.token(results)
	}
	return nil
}

// sample is evidence of the right length.
type sample struct {
	pod     *corev1.Pod
	options step.Options
	tokens  TokenForm
	node    string
}

func (e sample) spire(results []result.RunResult) []result.RunResult {
	names := len(e.options.SPIRE.TrustDomain) + len(e.pod.Namespace) + len(e.pod.Name)
	svid := noise(leastSVID + names)
	if e.options.Format == signing.FormatV1 {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: svid})
		return append([]result.RunResult{signing.NewCarrier(signing.CarrierSVID, string(block))}, legacy(results)...)
	}
	return []result.RunResult{
		manifest(), signature(), signing.NewCarrier(signing.CarrierSVID, base64.RawURLEncoding.EncodeToString(svid)),
	}
}

func (e sample) token(results []result.RunResult) []result.RunResult {
	prefix, key := e.options.Tokens.Audience, noise(sizePublicKey)
	audience := signing.PayloadAudience(prefix, signing.Digest(noise(len(signing.Digest{}))))
	if e.options.Binding == signing.BindingAudience {
		audience = signing.FixedAudience(prefix)
	}
	token := signing.NewCarrier(signing.CarrierToken, e.jwt(audience))
	switch {
	case e.options.Format == signing.FormatV1:
		spki := base64.StdEncoding.EncodeToString(key)
		return append(legacy(results), signing.NewCarrier(signing.CarrierPublicKey, spki), token)
	case e.options.Binding == signing.BindingPayload:
		return []result.RunResult{manifest(), token}
	}
	spki := base64.RawURLEncoding.EncodeToString(key)
	return []result.RunResult{manifest(), signature(), signing.NewCarrier(signing.CarrierPublicKey, spki), token}
}

// manifest returns that of format v2.
func manifest() result.RunResult {
	var h signing.Header
	h.PodUID, h.TaskRunUID = signing.UID(noise(len(h.PodUID))), signing.UID(noise(len(h.TaskRunUID)))
	h.SignedAt = time.Unix(anyTime, 0)
	return signing.NewCarrier(signing.CarrierManifest, h.Manifest())
}

func signature() result.RunResult {
	return signing.NewCarrier(signing.CarrierManifestSignature, base64.RawURLEncoding.EncodeToString(noise(sizeSignature)))
}

// legacy returns the carriers of format v1 that every backend has.
func legacy(results []result.RunResult) []result.RunResult {
	signature := func(name string) result.RunResult {
		value := base64.StdEncoding.EncodeToString(noise(sizeLegacySignature, name))
		return signing.NewCarrier(name+signing.LegacySuffix, value)
	}
	var signed []result.RunResult
	for _, r := range results {
		if r.ResultType == result.TaskRunResultType && !signing.IsLegacyCarrier(r.Key) {
			signed = append(signed, signature(r.Key))
		}
	}
	return append(signed, signing.NewCarrier(signing.CarrierManifest, signing.LegacyManifest(results)),
		signature(signing.CarrierManifest))
}

// jwt returns a token of the pod for an audience (Kubernetes 1.30 and later).
func (e sample) jwt(audience string) string {
	account := cmp.Or(e.pod.Spec.ServiceAccountName, "default")
	named := func(name string) map[string]string { return map[string]string{"name": name, "uid": anyUID} }
	claims, err := json.Marshal(map[string]any{
		"aud": []string{audience}, "exp": anyTime, "iat": anyTime, "nbf": anyTime, "iss": e.tokens.Issuer,
		"jti": anyUID,
		"sub": "system:serviceaccount:" + e.pod.Namespace + ":" + account,
		"kubernetes.io": map[string]any{
			"namespace": e.pod.Namespace, "node": named(e.node), "pod": named(e.pod.Name), "serviceaccount": named(account),
		},
	})
	if err != nil {
		return "" // names always encode
	}
	for old := []byte(anyUID); bytes.Contains(claims, old); {
		claims = bytes.Replace(claims, old, uid(len(claims)+bytes.Index(claims, old)), 1)
	}
	header := `{"alg":"RS256","kid":"` + word(e.tokens.KeyID) + `"}`
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(claims) +
		"." + word(e.tokens.Signature)
}

// uid returns the text of a UID, another one for each seed.
func uid(seed int) []byte {
	sum := sha256.Sum256(fmt.Append(nil, seed))
	return fmt.Appendf(nil, "%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// word returns n characters of base64url that do not compress.
func word(n int) string { return base64.RawURLEncoding.EncodeToString(noise(n))[:n] }

// noise returns n bytes that do not compress, always the same for a length and a seed.
func noise(n int, seed ...string) []byte {
	b := make([]byte, 0, n+sha256.Size)
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256(fmt.Append(nil, n, i, seed))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// evidenceSize returns an estimate of how many bytes the message of a step takes that emits nothing, or 0 if
// unknown. The estimate is low on purpose: evidence that does not fit by it never fits.
func evidenceSize(pod *corev1.Pod, options step.Options, tokens TokenForm) int {
	carriers := Evidence(pod, options, tokens, "", nil)
	text, err := room.Encode(append([]result.RunResult{Started()}, carriers...), false)
	if err != nil || len(carriers) == 0 {
		return 0
	}
	if options.Format == signing.FormatV1 {
		return len(text) - rareLegacySignature
	}
	return len(text)
}
