// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// webhookPort is the port of the add-on's pods on which API servers call the webhooks, and webhookService that of the Service
// in front of them.
const (
	webhookPort    = 8443
	webhookService = "443"
)

// openPort is the way out where API servers do not reach the add-on.
func openPort() string {
	return fmt.Sprintf("let the API server reach TCP port %d of the pods in namespace %s: a firewall between control plane and nodes "+
		"(a private cluster needs a rule for this port) or a NetworkPolicy stops it", webhookPort, manifests.Namespace)
}

// Of two replicas one may have just died: only several questions without an answer mean that the port is closed. Each waits for longer
// than any healthy answer takes, and for less than an API server tries to connect.
const (
	reachAttempts = 3
	reachPatience = 5 * time.Second
)

// Words of API servers for a connection to a pod, or to a webhook, that did not come about.
const (
	proxyFailed   = "error trying to reach service"
	webhookFailed = "failed calling webhook"
)

// unreached asks the API server to call the add-on on the port of the webhooks, and returns why it cannot. It is empty where it
// can, and where the user may not ask.
func (c Clients) unreached(ctx context.Context) string {
	reason := ""
	for range reachAttempts {
		if reason = c.unreachedOnce(ctx); reason == "" {
			return ""
		}
	}
	return reason
}

func (c Clients) unreachedOnce(ctx context.Context) string {
	question, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	_, err := c.Kube.CoreV1().Services(manifests.Namespace).ProxyGet("https", manifests.Controller, webhookService, "/", nil).DoRaw(question)
	if err == nil {
		return ""
	}
	if text := wholeText(err); strings.Contains(strings.ToLower(text), proxyFailed) {
		return fmt.Sprintf("the API server does not reach the add-on on port %d: %s", webhookPort, text)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Sprintf("the API server gets no answer from the add-on on port %d", webhookPort)
	}
	return "" // the add-on has answered, whatever it says to a question of this kind
}

// wholeText returns an error with what the server has sent beside its message.
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

// notCalled returns why the API server could not call a webhook, if that is what err says.
func notCalled(err error) string {
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), webhookFailed) {
		return ""
	}
	return fmt.Sprintf("the API server could not call the webhook: %v; %s", err, openPort())
}

// whyUnchanged says why a pod comes back without the signer: mostly because the API server could not ask the add-on, and goes on
// without in audit.
func (c Clients) whyUnchanged(ctx context.Context) string {
	if reason := c.unreached(ctx); reason != "" {
		return reason + "; " + openPort()
	}
	return "the pod comes back unchanged; if that lasts, " + openPort()
}
