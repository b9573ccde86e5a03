// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// Paths of an API server's service account issuer discovery (OpenID Connect Discovery 1.0, KEP-1393), and of
// the namespace whose UID identifies the cluster.
const (
	pathConfiguration = "/.well-known/openid-configuration"
	pathKeys          = "/openid/v1/jwks"
	pathCluster       = "/api/v1/namespaces/kube-system"
)

// accepted are the media types of the answers. Discovery has its own media type for keys (RFC 7517).
const accepted = "application/json, application/jwk-set+json"

// maxFetched caps each answer, in bytes; maxFetchedKeys the keys in it.
const (
	maxFetched     = 1 << 20
	maxFetchedKeys = 64
)

// Fetch reads the keys with which the cluster behind client signs service account tokens now, and the
// cluster's UID. client is any REST client of that API server, for example clientset.CoreV1().RESTClient().
// name is the name of the cluster in the bundle. The keys have no window, because an API server does not
// publish since when it uses them. The caller needs get on the two discovery paths (ClusterRole
// system:service-account-issuer-discovery) and on the namespace kube-system. Fetch wraps errors of the API
// server, so that k8s.io/apimachinery/pkg/api/errors recognises them.
func Fetch(ctx context.Context, client rest.Interface, name string) (*Cluster, error) {
	uid, err := FetchUID(ctx, client)
	if err != nil {
		return nil, err
	}
	var configuration struct {
		Issuer string `json:"issuer"`
	}
	if err := get(ctx, client, pathConfiguration, &configuration); err != nil {
		return nil, fmt.Errorf("reading the service account issuer of the cluster: %w", err)
	}
	var set struct {
		Keys []JWK `json:"keys"`
	}
	if err := get(ctx, client, pathKeys, &set); err != nil {
		return nil, fmt.Errorf("reading the service account keys of the cluster: %w", err)
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxFetchedKeys {
		return nil, fmt.Errorf("expected 1 to %d service account keys, got %d", maxFetchedKeys, len(set.Keys))
	}
	issuer := Issuer{Issuer: configuration.Issuer}
	for _, key := range set.Keys {
		issuer.Keys = append(issuer.Keys, IssuerKey{JWK: key})
	}
	cluster := &Cluster{Name: name, UID: uid, ServiceAccountIssuers: []Issuer{issuer}, Recorders: addOnRecorders()}
	if err := cluster.Validate(); err != nil {
		return nil, fmt.Errorf("the cluster's own keys cannot be used: %w", err)
	}
	return cluster, nil
}

// FetchUID returns the UID of the namespace kube-system, which identifies the cluster.
func FetchUID(ctx context.Context, client rest.Interface) (string, error) {
	var namespace struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if err := get(ctx, client, pathCluster, &namespace); err != nil {
		return "", fmt.Errorf("reading the UID of the cluster, that of its namespace kube-system: %w", err)
	}
	return namespace.Metadata.UID, nil
}

// forbiddenError names the missing permission. A raw request loses the API server's own text.
type forbiddenError struct {
	path string
	err  error
}

func (e *forbiddenError) Error() string {
	if e.path == pathCluster {
		return "not allowed to get the namespace kube-system"
	}
	return "not allowed to get " + e.path + " (ClusterRole system:service-account-issuer-discovery)"
}

// Unwrap returns the API server's answer.
func (e *forbiddenError) Unwrap() error { return e.err }

// get decodes the answer to GET path into v. It ignores fields that v does not have.
func get(ctx context.Context, client rest.Interface, path string, v any) error {
	data, err := client.Get().AbsPath(path).SetHeader("Accept", accepted).DoRaw(ctx)
	if apierrors.IsForbidden(err) {
		return &forbiddenError{path: path, err: err}
	}
	if err != nil {
		return err
	}
	if len(data) > maxFetched {
		return fmt.Errorf("expected at most %d bytes from %s, got %d", maxFetched, path, len(data))
	}
	if err := strictjson.Check(data); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	// An answer may hold unknown fields, and fields like x5c that a bundle does not keep.
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	return nil
}
