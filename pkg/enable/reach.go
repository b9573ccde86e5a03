// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// webhookPort is the port of the add-on's pods on which API servers call the webhooks, and webhookService the port of
// the Service in front of them.
const (
	webhookPort    = 8443
	webhookService = "443"
)

// OpenPort returns what the user can do where API servers do not reach the add-on.
func OpenPort() string {
	return fmt.Sprintf("let the API server reach TCP port %d of the pods in namespace %s: "+
		"a firewall between control plane and nodes (a private cluster needs a rule for this port) "+
		"or a NetworkPolicy stops it", webhookPort, manifests.Namespace)
}

// One of two replicas may have just died: only several questions without an answer mean that the port is closed. Each
// waits longer than any healthy answer takes, and less than an API server tries to connect.
const (
	reachAttempts = 3
	reachPatience = 5 * time.Second
)

// What API servers report when a connection to a pod, or to a webhook, fails.
const (
	proxyFailed   = "error trying to reach service"
	webhookFailed = "failed calling webhook"
)

// Unreached asks the API server to call the add-on on the port of the webhooks, and returns why it cannot. The reason
// is empty where it can, and where the user may not ask.
func Unreached(ctx context.Context, client kubeclient.Interface) string {
	reason := ""
	for range reachAttempts {
		if reason = unreachedOnce(ctx, client); reason == "" {
			return ""
		}
	}
	return reason
}

func unreachedOnce(ctx context.Context, client kubeclient.Interface) string {
	question, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	services := client.CoreV1().Services(manifests.Namespace)
	_, err := services.ProxyGet("https", manifests.Controller, webhookService, "/", nil).DoRaw(question)
	if err == nil {
		return ""
	}
	if text := wholeText(err); strings.Contains(strings.ToLower(text), proxyFailed) {
		return fmt.Sprintf("the API server does not reach the add-on on port %d: %s", webhookPort, text)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Sprintf("the API server gets no answer from the add-on on port %d", webhookPort)
	}
	return "" // the add-on has answered; what it answers does not matter
}

// wholeText returns an error with the causes that the server has sent beside its message.
func wholeText(err error) string {
	parts := []string{err.Error()}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			parts = append(parts, cause.Message)
		}
	}
	return strings.Join(parts, ": ")
}

// notCalled returns why the API server could not call a webhook, empty if err has another reason.
func notCalled(err error) string {
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), webhookFailed) {
		return ""
	}
	return fmt.Sprintf("the API server could not call the webhook: %v; %s", err, OpenPort())
}

// whyUnchanged returns why a pod comes back without the signer. Mostly the API server could not call the add-on, and
// goes on without it in audit.
func whyUnchanged(ctx context.Context, client kubeclient.Interface) string {
	if reason := Unreached(ctx, client); reason != "" {
		return reason + "; " + OpenPort()
	}
	return "the pod comes back unchanged; if that lasts, " + OpenPort()
}
