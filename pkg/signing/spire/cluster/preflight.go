// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// Preflight returns the checks of what the backend needs before it is enabled.
func Preflight() []cluster.Check {
	return []cluster.Check{{
		ID: "TS421", Title: "the SPIFFE CSI driver runs on every node",
		Why: "pods with the signer mount the socket of SPIRE's agent, and do not start without the driver",
		Fix: "Install the SPIFFE CSI driver as a DaemonSet on every node on which TaskRuns run.",
		Run: func(ctx context.Context, t cluster.Target) []cluster.Finding {
			return checkDriver(ctx, t.Kube, t.Objects)
		},
	}, {
		ID: "TS422", Title: "somebody registers TaskRuns with SPIRE",
		Why: "SPIRE issues SVIDs only to pods that are registered: by the add-on, or by spire-controller-manager",
		Fix: "Install spire-controller-manager with its CRDs, or let the add-on register TaskRuns (--spire-entries api).",
		Run: func(ctx context.Context, t cluster.Target) []cluster.Finding {
			return []cluster.Finding{CheckManager(ctx, t.Objects, t.Settings)}
		},
	}, {
		ID: "TS423", Title: "SPIRE's server is ready",
		Why: "the add-on registers TaskRuns there, and agents get the SVIDs of steps from it",
		Fix: "Start SPIRE's server, or correct spire-server-addr in ConfigMap config-spire.",
		Run: checkServer,
	}, {
		ID: "TS424", Title: "SPIRE's agents are ready on every node",
		Why: "a step asks the agent on its node for an SVID, and is not signed without an answer",
		Fix: "Repair the DaemonSet of SPIRE's agents: its pods, their node attestation, and their connection to the server.",
		Run: checkAgents,
	}, {
		ID: "TS425", Title: "the trust domain of SPIRE is that of config-spire",
		Why: "SVIDs of another trust domain identify no TaskRun, and the add-on accepts no server of another one",
		Fix: "Correct spire-trust-domain in ConfigMap config-spire, in Tekton's namespace.",
		Run: checkTrustDomain,
	}, {
		ID: "TS426", Title: "the add-on is registered with SPIRE",
		Why: "the add-on registers TaskRuns and signs their status with its own SVID",
		Fix: "Register the add-on with SPIRE as docs/spire.md shows.",
		Run: checkRegistration,
	}}
}

// checkRegistration checks what the add-on has reported, if it runs with the backend.
func checkRegistration(ctx context.Context, t cluster.Target) []cluster.Finding {
	if r, err := readReport(ctx, t); err == nil && (r == nil || t.Now.Sub(r.Time) > reportAge) {
		return []cluster.Finding{{Level: cluster.Fine, Message: "this is known when the add-on runs with the backend: " +
			"status checks it then. Register the add-on first: " + register(t.Settings.SPIRE)}}
	}
	return checkReport(ctx, t)
}

// notifierMap is the ConfigMap in which SPIRE's notifier k8sbundle keeps the authorities by default.
const notifierMap = "spire-bundle"

// checkTrustDomain compares the trust domain with the one in the authorities that SPIRE's server publishes in its own
// namespace. Only the address of the server names that namespace: anyone can run something with the name of SPIRE's
// server in theirs.
func checkTrustDomain(ctx context.Context, t cluster.Target) []cluster.Finding {
	want, got := t.Settings.SPIRE.TrustDomain, ""
	if namespace, _, inCluster := serviceOf(t.Settings.SPIRE.ServerAddr); inCluster {
		cm, err := t.Kube.CoreV1().ConfigMaps(namespace).Get(ctx, notifierMap, metav1.GetOptions{})
		if err == nil { // else the notifier may be off, or write elsewhere
			got = publishedDomain(want, cm.Data)
		}
	}
	switch got {
	case "":
	case want:
		return []cluster.Finding{{Level: cluster.Fine, Message: "SPIRE's trust domain is " + want}}
	default:
		return []cluster.Finding{{
			Message:  "SPIRE has another trust domain than ConfigMap config-spire: no step could be verified",
			Expected: want, Got: got,
			Next: setConfig(t, config.KeyTrustDomain, got),
		}}
	}
	return []cluster.Finding{{
		Level: cluster.Fine, Message: "SPIRE's trust domain is not known before the add-on runs: no ConfigMap " +
			notifierMap + " beside SPIRE's server names it. status checks it then",
	}}
}

// publishedDomain returns the trust domain that the authorities name; empty if none does.
func publishedDomain(want string, data map[string]string) string {
	for _, text := range data {
		bundle, err := ParseBundle(want, []byte(text))
		if err != nil {
			continue
		}
		for _, a := range bundle.X509Authorities {
			c, err := a.Certificate()
			if err != nil || len(c.URIs) != 1 {
				continue
			}
			if id, err := spiffeid.FromURI(c.URIs[0]); err == nil {
				return id.TrustDomain().Name()
			}
		}
	}
	return ""
}
