// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Caps of what is read, in bytes.
const (
	maxToken  = 8 << 10
	maxCAFile = 1 << 20
)

// identity is a pod's own identity: its projected token, and the claims of that token.
type identity struct {
	token          string
	namespace      string
	serviceAccount string
	pod            string
	podUID         signing.UID
}

// boundClaims are the claims of a Kubernetes service account token (KEP-1205) that the signer reads. It does
// not verify them. The API server verifies the pod's own token when the signer uses it, and the verifier
// verifies the new token.
type boundClaims struct {
	Audience   audienceClaim `json:"aud"`
	Kubernetes struct {
		Namespace      string    `json:"namespace"`
		Pod            objectRef `json:"pod"`
		ServiceAccount objectRef `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

type objectRef struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// audienceClaim is one string or a list of them (RFC 7519, section 4.1.3).
type audienceClaim []string

func (a *audienceClaim) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*a = audienceClaim{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// credentials are the files of a pod's service account.
type credentials struct {
	dir, namespace string
}

// roots returns the authorities in ca.crt that the add-on named. Anyone who can change ConfigMaps of the
// namespace can add others, and send the pod's token to another server.
func (c credentials) roots(named []string) (*x509.CertPool, error) {
	ca, err := readCapped(filepath.Join(c.dir, "ca.crt"), maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("the pod has no certificate authority of the API server: %w; "+
			"check the ConfigMap kube-root-ca.crt of namespace %s", err, c.namespace)
	}
	roots, found := x509.NewCertPool(), false
	for block, rest := pem.Decode(ca); block != nil; block, rest = pem.Decode(rest) {
		digest := sha256.Sum256(block.Bytes)
		if block.Type != "CERTIFICATE" || !slices.Contains(named, hex.EncodeToString(digest[:])) {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading ca.crt: %w; check the add-on's own ca.crt", err)
		}
		roots.AddCert(certificate)
		found = true
	}
	if !found {
		return nil, fmt.Errorf("ca.crt of the pod has no certificate authority that the add-on knows for the API server's; "+
			"check the ConfigMap kube-root-ca.crt of namespace %s", c.namespace)
	}
	return roots, nil
}

// exist returns an error if the pod has no token. It does not read the token.
func (c credentials) exist() error {
	_, err := os.Stat(filepath.Join(c.dir, "token"))
	return c.noToken(err)
}

func (c credentials) noToken(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the pod has no service account token: %w; "+
		"set automountServiceAccountToken: true in the TaskRun's podTemplate or service account", err)
}

// identity reads the pod's token and checks that it belongs to the namespace.
func (c credentials) identity() (identity, error) {
	token, err := readCapped(filepath.Join(c.dir, "token"), maxToken)
	if err != nil {
		return identity{}, c.noToken(err)
	}
	id := identity{token: string(token), namespace: c.namespace}
	if err := id.readClaims(); err != nil {
		return identity{}, fmt.Errorf("the pod's own token cannot be used: %w; "+
			"signing needs the token that Kubernetes projects into the pod", err)
	}
	return id, nil
}

// readClaims fills in the token's claims about the pod.
func (id *identity) readClaims() error {
	claims, err := claimsOf(id.token)
	if err != nil {
		return err
	}
	k := claims.Kubernetes
	switch {
	case k.Namespace != id.namespace:
		return fmt.Errorf("expected a token of namespace %q, got one of %q", id.namespace, k.Namespace)
	case k.ServiceAccount.Name == "":
		return fmt.Errorf("it names no service account")
	case k.Pod.Name == "":
		return fmt.Errorf("it is not bound to a pod")
	}
	uid, err := signing.ParseUID(k.Pod.UID)
	if err != nil {
		return fmt.Errorf("the pod it is bound to: %w", err)
	}
	id.serviceAccount, id.pod, id.podUID = k.ServiceAccount.Name, k.Pod.Name, uid
	return nil
}

// claimsOf reads the claims of a compact JWS (RFC 7515), and ignores the signature.
func claimsOf(token string) (boundClaims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return boundClaims{}, fmt.Errorf("expected a token of 3 parts, got %d", len(parts))
	}
	for _, part := range parts {
		if _, err := signing.DecodeBase64URL(part); err != nil {
			return boundClaims{}, fmt.Errorf("decoding the token: %w", err)
		}
	}
	payload, err := signing.DecodeBase64URL(parts[1])
	if err != nil {
		return boundClaims{}, fmt.Errorf("decoding the token: %w", err)
	}
	var claims boundClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return boundClaims{}, fmt.Errorf("reading the token's claims: %w", err)
	}
	return claims, nil
}

// readCapped reads a whole file of at most limit bytes.
func readCapped(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}
