// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const (
	maxResponse   = 64 << 10               // bytes
	maxServerText = 300                    // characters of a server's message that are shown
	firstDelay    = 200 * time.Millisecond // doubles with each attempt
	longestDelay  = 2 * time.Second
)

// Timeouts of one attempt. A server that hangs must leave time for another attempt.
const (
	attemptTimeout = 2 * time.Second
	dialTimeout    = time.Second
	hastyTimeout   = time.Second
	hastyDial      = 500 * time.Millisecond
	// silences is how many attempts in a row may end without a connection. Two attempts can reach two servers
	// behind one address. After that, a firewall probably drops the packets of all steps of the pod.
	silences = 2
)

// tokenRequest asks the API server for a token of the pod's own service account, by the subresource
// serviceaccounts/token (authentication.k8s.io/v1). It uses plain HTTPS, because a client library would be
// several times the size of the signer.
type tokenRequest struct {
	address  string
	roots    *x509.CertPool
	identity identity
	audience string
	lifetime time.Duration
	hasty    bool // one attempt
}

// tokenRequestBody and tokenReply are the parts of the API type TokenRequest, and of Status on failure, that are used.
type tokenRequestBody struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Spec       tokenRequestSpec `json:"spec"`
}

type tokenRequestSpec struct {
	Audiences         []string       `json:"audiences"`
	ExpirationSeconds int            `json:"expirationSeconds"`
	BoundObjectRef    boundObjectRef `json:"boundObjectRef"`
}

type boundObjectRef struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

type tokenReply struct {
	Status struct {
		Token string `json:"token"`
	} `json:"status"`
}

type statusReply struct {
	Message string `json:"message"`
}

// Next steps of errors that have several causes.
const (
	askWebhooks = "check the admission webhooks that change token requests"
	askAddress  = "check what listens at the address of the API server"
)

// retryable marks an error that may not occur in another attempt.
type retryable struct{ error }

func (r retryable) Unwrap() error { return r.error }

// do returns the token. Until ctx ends, it tries again after errors of the network and of the server, and
// while the grant may not exist yet.
func (r tokenRequest) do(ctx context.Context) (string, error) {
	body, err := json.Marshal(r.body())
	if err != nil {
		return "", fmt.Errorf("encoding the token request: %w", err)
	}
	client := r.client()
	defer client.CloseIdleConnections()
	return r.repeat(ctx, func() (string, error) { return r.attempt(ctx, client, body) })
}

func (r tokenRequest) repeat(ctx context.Context, attempt func() (string, error)) (string, error) {
	silent := 0
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		token, err := attempt()
		if isSilence(err) {
			silent++
		} else {
			silent = 0
		}
		var again retryable
		if err == nil || r.hasty || silent == silences || !errors.As(err, &again) || !sleep(ctx, delay) {
			return token, err
		}
	}
}

// isSilence reports whether there was no answer from the address at all.
func isSilence(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial" && network.Timeout()
}

func (r tokenRequest) body() tokenRequestBody {
	return tokenRequestBody{
		APIVersion: "authentication.k8s.io/v1",
		Kind:       "TokenRequest",
		Spec: tokenRequestSpec{
			Audiences:         []string{r.audience},
			ExpirationSeconds: int(r.lifetime / time.Second),
			BoundObjectRef: boundObjectRef{
				Kind: "Pod", APIVersion: "v1", Name: r.identity.pod, UID: r.identity.podUID.String(),
			},
		},
	}
}

// client returns a client that trusts only the authorities that the add-on named. It uses no proxy and
// follows no redirects, so that the pod's token goes nowhere else.
func (r tokenRequest) client() *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if r.hasty {
		dialer.Timeout = hastyDial
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxResponse,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (r tokenRequest) timeout() time.Duration {
	if r.hasty {
		return hastyTimeout
	}
	return attemptTimeout
}

func (r tokenRequest) attempt(ctx context.Context, client *http.Client, body []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	target := fmt.Sprintf("%s/api/v1/namespaces/%s/serviceaccounts/%s/token",
		r.address, url.PathEscape(r.identity.namespace), url.PathEscape(r.identity.serviceAccount))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return "", unreachable(fmt.Errorf("address of the API server: %w; %s", err, askAddress))
	}
	request.Header.Set("Authorization", "Bearer "+r.identity.token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "tekton-sign-signer")
	response, err := client.Do(request)
	if err != nil {
		return "", r.networkError(err)
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	if err != nil {
		return "", r.networkError(err)
	}
	if len(reply) > maxResponse {
		return "", unreachable(fmt.Errorf("expected an answer of at most %d bytes from %s; %s",
			maxResponse, r.address, askAddress))
	}
	return r.judge(response.StatusCode, reply)
}

// judge turns the server's answer into a token or an error.
func (r tokenRequest) judge(status int, reply []byte) (string, error) {
	switch {
	case status == http.StatusOK || status == http.StatusCreated:
		return r.accept(reply)
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		return "", retryable{unreachable(fmt.Errorf("the API server answered %d: %s; "+
			"check its health and priority-and-fairness limits", status, serverText(reply)))}
	case status == http.StatusForbidden: // the grant may follow a moment after the namespace
		return "", retryable{r.denied(status, reply)}
	case status >= 400:
		return "", r.denied(status, reply)
	}
	return "", unreachable(fmt.Errorf("expected the API server to answer 201, got %d; %s", status, askAddress))
}

func (r tokenRequest) denied(status int, reply []byte) error {
	return denied(fmt.Errorf("the API server answered %d: %s; "+
		"run kubectl tekton-sign enable oidc-sa-token for namespace %s, which grants service account %s its own tokens",
		status, serverText(reply), r.identity.namespace, r.identity.serviceAccount))
}

// accept returns the token in reply if it has only the requested audience.
func (r tokenRequest) accept(reply []byte) (string, error) {
	var answer tokenReply
	if err := json.Unmarshal(reply, &answer); err != nil {
		return "", unreachable(fmt.Errorf("reading the API server's answer: %w; %s", err, askAddress))
	}
	token := answer.Status.Token
	if len(token) > maxToken {
		return "", denied(fmt.Errorf("expected a token of at most %d bytes, got %d; %s", maxToken, len(token), askWebhooks))
	}
	claims, err := claimsOf(token)
	if err != nil {
		return "", denied(fmt.Errorf("the API server returned no usable token: %w; %s", err, askWebhooks))
	}
	if len(claims.Audience) != 1 || claims.Audience[0] != r.audience {
		return "", denied(fmt.Errorf("expected a token for audience %q, got %q; %s",
			r.audience, []string(claims.Audience), askWebhooks))
	}
	return token, nil
}

// networkError classifies the error of a request without an answer.
func (r tokenRequest) networkError(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return unreachable(fmt.Errorf("the API server is not the one that the add-on knows: %w; "+
			"check what listens at %s for namespace %s", err, r.address, r.identity.namespace))
	}
	return retryable{unreachable(fmt.Errorf("%w; "+
		"check the network policies of namespace %s: steps must reach the API server", err, r.identity.namespace))}
}

func unreachable(err error) error {
	return &signing.UnsignedError{Reason: signing.UnsignedAPIUnreachable, Err: err}
}

func denied(err error) error {
	return &signing.UnsignedError{Reason: signing.UnsignedTokenDenied, Err: err}
}

// serverText returns the message of a Status, or the text itself, shortened to one printable line.
func serverText(reply []byte) string {
	text := string(reply)
	var status statusReply
	if err := json.Unmarshal(reply, &status); err == nil && status.Message != "" {
		text = status.Message
	}
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)
	if runes := []rune(text); len(runes) > maxServerText {
		text = string(runes[:maxServerText]) + "…"
	}
	return text
}

// sleep waits for d and reports whether ctx has not ended. It does not wait if ctx would end first.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
