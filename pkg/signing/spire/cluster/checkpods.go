// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// Names of the containers and images of SPIRE, in its releases and in its Helm chart.
const (
	serverImage = "spire-server"
	agentImage  = "spire-agent"
)

// running is a StatefulSet, Deployment or DaemonSet that runs SPIRE.
type running struct {
	kind, namespace, name string
	wanted, ready         int32
	image                 string
}

// checkServer checks that SPIRE's server is ready: the Service at spire-server-addr, and the pods behind it, as far as
// they are in this cluster.
func checkServer(ctx context.Context, t cluster.Target) []cluster.Finding {
	namespace, service, inCluster := serviceOf(t.Settings.SPIRE.ServerAddr)
	if inCluster {
		if f, ok := checkService(ctx, t, namespace, service); !ok {
			return []cluster.Finding{f}
		}
	}
	servers, err := findServers(ctx, t.Kube, namespace)
	if err != nil {
		return []cluster.Finding{unread("the StatefulSets and Deployments of SPIRE's server", err)}
	}
	if len(servers) == 0 {
		return []cluster.Finding{{
			Level: cluster.Fine, Message: "the pods of SPIRE's server are not checked: no StatefulSet or Deployment has the " +
				"container " + serverImage,
		}}
	}
	var found []cluster.Finding
	for _, w := range servers {
		found = append(found, w.check("SPIRE's server", w.ready > 0))
		if version := tagOf(w.image); isOld(version) {
			found = append(found, oldVersion("SPIRE's server is", version))
		}
	}
	return found
}

// serviceOf returns the Service in host:port; ok is false if it is not the name of a Service of the cluster.
func serviceOf(address string) (namespace, name string, ok bool) {
	host, _, err := net.SplitHostPort(address)
	parts := strings.Split(host, ".")
	if err != nil || len(parts) < 3 || parts[2] != "svc" {
		return "", "", false
	}
	return parts[1], parts[0], true
}

// checkService checks that the Service exists and has an address that is ready.
func checkService(ctx context.Context, t cluster.Target, namespace, name string) (f cluster.Finding, ok bool) {
	_, err := t.Kube.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	what := "Service " + namespace + "/" + name
	switch {
	case apierrors.IsNotFound(err):
		return cluster.Finding{
			Message:  "SPIRE's server cannot be reached: spire-server-addr in ConfigMap config-spire names no Service",
			Expected: what, Got: "none",
			Next: setConfig(t, "spire-server-addr", "SERVICE.NAMESPACE.svc.cluster.local:PORT"),
		}, false
	case err != nil:
		return unread(what, err), false
	}
	list, err := t.Objects.Resource(endpointSlices()).Namespace(namespace).List(ctx,
		metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + name})
	if err != nil {
		return unread("the EndpointSlices of "+what, err), false
	}
	if anyReady(list.Items) {
		return cluster.Finding{}, true
	}
	return cluster.Finding{
		Message:  "SPIRE's server cannot be reached: its Service has no address that is ready",
		Expected: "a ready pod behind " + what, Got: "none", Next: "kubectl describe pods -n " + namespace,
	}, false
}

func endpointSlices() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
}

// setConfig returns the command that sets a key of ConfigMap config-spire.
func setConfig(t cluster.Target, key, value string) string {
	return fmt.Sprintf(`kubectl patch configmap %s -n %s --type merge -p '{"data":{"%s":"%s"}}'`,
		config.ConfigMapName, t.TektonNamespace, key, value)
}

func anyReady(slices []unstructured.Unstructured) bool {
	for i := range slices {
		endpoints, _, _ := unstructured.NestedSlice(slices[i].Object, "endpoints")
		for _, e := range endpoints {
			endpoint, _ := e.(map[string]any)
			if ready, found, _ := unstructured.NestedBool(endpoint, "conditions", "ready"); ready || !found {
				return true
			}
		}
	}
	return false
}

// findServers returns what runs SPIRE's server in a namespace; empty: in all.
func findServers(ctx context.Context, kube kubeclient.Interface, namespace string) ([]running, error) {
	var found []running
	sets, err := kube.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range sets.Items {
		s := &sets.Items[i]
		if image := imageOf(&s.Spec.Template.Spec, serverImage); image != "" {
			found = append(found, running{
				"statefulset", s.Namespace, s.Name, replicas(s.Spec.Replicas), s.Status.ReadyReplicas, image,
			})
		}
	}
	deployments, err := kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if image := imageOf(&d.Spec.Template.Spec, serverImage); image != "" {
			found = append(found, running{
				"deployment", d.Namespace, d.Name, replicas(d.Spec.Replicas), d.Status.ReadyReplicas, image,
			})
		}
	}
	return found, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// checkAgents checks the DaemonSets of SPIRE's agents.
func checkAgents(ctx context.Context, t cluster.Target) []cluster.Finding {
	sets, err := t.Kube.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return []cluster.Finding{unread("the DaemonSets of SPIRE's agents", err)}
	}
	var found []cluster.Finding
	for i := range sets.Items {
		d := &sets.Items[i]
		image := imageOf(&d.Spec.Template.Spec, agentImage)
		if image == "" {
			continue
		}
		w := running{"daemonset", d.Namespace, d.Name, d.Status.DesiredNumberScheduled, d.Status.NumberReady, image}
		found = append(found, w.check("SPIRE's agents", w.ready >= w.wanted))
	}
	if len(found) == 0 {
		found = append(found, cluster.Finding{Level: cluster.Fine, Message: "the pods of SPIRE's agents are not checked: " +
			"no DaemonSet has the container " + agentImage})
	}
	return found
}

// check returns the finding about a workload of SPIRE. enough is whether it works with the pods that are ready.
func (w running) check(who string, enough bool) cluster.Finding {
	name := fmt.Sprintf("%s/%s in namespace %s", w.kind, w.name, w.namespace)
	ready := fmt.Sprintf("%d of %d pods are ready", w.ready, w.wanted)
	switch {
	case w.kind != "daemonset" && w.wanted == 0:
		return cluster.Finding{
			Message: who + " does not run", Expected: "a replica of " + name, Got: "none",
			Next: fmt.Sprintf("kubectl scale -n %s %s/%s --replicas 1", w.namespace, w.kind, w.name),
		}
	case enough:
		return cluster.Finding{
			Level: cluster.Fine, Message: fmt.Sprintf("%s: %s of %s, image %s", who, ready, name, w.image),
		}
	}
	return cluster.Finding{
		Message:  who + " are not all ready: steps may get no SVID",
		Expected: fmt.Sprintf("%d ready pods of %s", w.wanted, name), Got: fmt.Sprint(w.ready),
		Next: fmt.Sprintf("kubectl rollout status -n %s %s/%s, and kubectl describe pods -n %s",
			w.namespace, w.kind, w.name, w.namespace),
	}
}

// imageOf returns the image of the container that has this name or whose image has it; empty if there is none.
func imageOf(pod *corev1.PodSpec, name string) string {
	for i := range pod.Containers {
		image, _, _ := strings.Cut(pod.Containers[i].Image, "@")
		base := image[strings.LastIndexByte(image, '/')+1:]
		base, _, _ = strings.Cut(base, ":")
		if pod.Containers[i].Name == name || base == name {
			return image
		}
	}
	return ""
}

// tagOf returns the tag of an image, empty if it has none.
func tagOf(image string) string {
	_, tag, _ := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	return tag
}
