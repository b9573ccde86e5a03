// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Check checks what the backend spire needs in a cluster: the CSI driver on the nodes, SPIRE's server and its agents,
// the authorities of the trust domain in the trust history, and what the add-on has reported.
func Check(ctx context.Context, t cluster.Target) []cluster.Finding {
	found := slices.Concat(checkDriver(ctx, t.Kube, t.Objects), checkServer(ctx, t), checkAgents(ctx, t),
		[]cluster.Finding{checkAuthorities(ctx, t, t.Settings.SPIRE.TrustDomain)}, checkReport(ctx, t))
	if managed(t.Settings) {
		found = append(found, CheckManager(ctx, t.Objects, t.Settings))
	}
	return found
}

const installDriver = "install the SPIFFE CSI driver (spiffe-csi-driver), for example with SPIRE's Helm chart"

func storage(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: resource}
}

// checkDriver checks that the CSI driver is there, and on every node on which pods can run.
func checkDriver(ctx context.Context, kube kubeclient.Interface, objects dynamic.Interface) []cluster.Finding {
	_, err := objects.Resource(storage("csidrivers")).Get(ctx, CSIDriver, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return []cluster.Finding{{
			Message: "steps cannot reach SPIRE: pods with the signer do not start", Next: installDriver,
			Expected: "CSIDriver " + CSIDriver, Got: "none",
		}}
	case err != nil:
		return []cluster.Finding{unread("CSIDriver "+CSIDriver, err)}
	}
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return []cluster.Finding{unread("the nodes", err)}
	}
	with, err := nodesWithDriver(ctx, objects)
	if err != nil {
		return []cluster.Finding{unread("the CSINodes", err)}
	}
	lacking := lackingDriver(nodes.Items, with)
	if len(lacking) == 0 {
		return []cluster.Finding{{Level: cluster.Fine, Message: "the CSI driver " + CSIDriver + " runs on every node"}}
	}
	return []cluster.Finding{{
		Message:  "pods with the signer do not start on some nodes, because the SPIFFE CSI driver does not run there",
		Expected: "CSI driver " + CSIDriver + " on every schedulable node", Got: "not on " + names.Few(lacking),
		Next: "check the DaemonSet of the SPIFFE CSI driver: kubectl get pods -A -o wide",
	}}
}

// nodesWithDriver returns the nodes on which the driver is registered.
func nodesWithDriver(ctx context.Context, objects dynamic.Interface) (map[string]bool, error) {
	list, err := objects.Resource(storage("csinodes")).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	with := map[string]bool{}
	for _, node := range list.Items {
		drivers, _, _ := unstructured.NestedSlice(node.Object, "spec", "drivers")
		with[node.GetName()] = slices.ContainsFunc(drivers, func(d any) bool {
			driver, ok := d.(map[string]any)
			return ok && driver["name"] == CSIDriver
		})
	}
	return with, nil
}

// lackingDriver returns the schedulable Linux nodes without the driver.
func lackingDriver(nodes []corev1.Node, with map[string]bool) []string {
	var lacking []string
	for i := range nodes {
		n := &nodes[i]
		if !n.Spec.Unschedulable && n.Labels[corev1.LabelOSStable] != string(corev1.Windows) && !with[n.Name] {
			lacking = append(lacking, n.Name)
		}
	}
	return lacking
}

// checkAuthorities checks that the add-on sees the authorities of the trust domain. It sees them only with an
// SVID of its own, from an agent that works.
func checkAuthorities(ctx context.Context, t cluster.Target, domain string) cluster.Finding {
	history, err := t.History(ctx)
	if err != nil {
		return unread("the trust history", err)
	}
	newest, others := authoritiesOf(history, domain)
	var expires time.Time
	if newest != nil {
		expires = newest.NotAfter
	}
	want := fmt.Sprintf("an authority of trust domain %s, as in ConfigMap config-spire", domain)
	switch {
	case expires.IsZero() && len(others) > 0:
		return cluster.Finding{
			Message:  "SPIRE has another trust domain than ConfigMap config-spire: nothing that steps sign can be verified",
			Expected: want, Got: "authorities of " + strings.Join(others, ", "),
			Next: setConfig(t, config.KeyTrustDomain, others[0]),
		}
	case expires.IsZero():
		return cluster.Finding{
			Message:  "the add-on has no SVID: it can neither register TaskRuns nor verify what they sign",
			Expected: want, Got: "none",
			Next: "register the add-on with SPIRE (docs/spire.md), and see kubectl logs -n tekton-sign " +
				"deployment/tekton-sign-controller",
		}
	case t.Now.After(expires):
		return cluster.Finding{
			Message:  "SPIRE's authority has expired: the add-on does not see the next one",
			Expected: want + " that is valid", Got: "valid until " + expires.UTC().Format(time.RFC3339),
			Next: "check SPIRE's agents and its server: kubectl get pods -A",
		}
	case expires.Sub(t.Now) < expires.Sub(newest.NotBefore)/renewed:
		return cluster.Finding{
			Level: cluster.Warning, Message: "SPIRE's authority expires soon, and the add-on does not see the next one",
			Expected: "another authority of trust domain " + domain, Got: "the newest is valid until " +
				expires.UTC().Format(time.RFC3339),
			Next: "see SPIRE's server: spire-server localauthority x509 show; renew an upstream authority yourself",
		}
	}
	return cluster.Finding{Level: cluster.Fine, Message: fmt.Sprintf(
		"the authorities of trust domain %s are known, the newest is valid until %s",
		domain, expires.UTC().Format(time.RFC3339))}
}

// renewed is the part of its lifetime that an authority has left at least: SPIRE signs with the next one from then on.
const renewed = 6

// authoritiesOf returns the authority of the trust domain that is in use and expires last, nil if there is none, and
// the other trust domains with authorities in use.
func authoritiesOf(history trust.History, domain string) (newest *x509.Certificate, others []string) {
	for _, sightings := range history {
		for _, s := range sightings {
			switch {
			case s.TrustDomain == "" || !s.Current:
			case s.TrustDomain != domain:
				others = append(others, s.TrustDomain)
			default:
				c, err := trust.X509Authority{DER: s.DER}.Certificate()
				if err == nil && (newest == nil || c.NotAfter.After(newest.NotAfter)) {
					newest = c
				}
			}
		}
	}
	slices.Sort(others)
	return newest, slices.Compact(others)
}

func unread(what string, err error) cluster.Finding {
	return cluster.Finding{
		Level: cluster.Unread, Message: "cannot read " + what, Expected: "permission to read it", Got: err.Error(),
	}
}
