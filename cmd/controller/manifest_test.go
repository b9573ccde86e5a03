// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/controller/internal/serve"
	"github.com/tekton-sign/kubectl-tekton-sign/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/metrics"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// TestManifest holds the Deployment to what this program does: ports, probes, and the time that it takes to leave.
func TestManifest(t *testing.T) {
	objects, err := config.Objects()
	if err != nil {
		t.Fatal(err)
	}
	var deployment *appsv1.Deployment
	var budget *policyv1.PodDisruptionBudget
	var priority *schedulingv1.PriorityClass
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			if o.Name == manifests.Controller {
				deployment = o
				continue
			}
			if c := o.Spec.Template.Spec.Containers[0]; len(c.Command) != 2 || c.Command[1] != keeperCommand ||
				o.Name != manifests.Keeper {
				t.Errorf("Deployment %s: expected the keeper, called with %s, got %q", o.Name, keeperCommand, c.Command)
			}
		case *policyv1.PodDisruptionBudget:
			budget = o
		case *schedulingv1.PriorityClass:
			priority = o
		}
	}
	if deployment == nil || budget == nil || priority == nil {
		t.Fatal("the Deployment, its budget or its priority is missing")
	}
	pod := deployment.Spec.Template.Spec
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	if longest := drain.Most + drain.Grace; grace <= longest {
		t.Errorf("a replica may take %s to leave, and is killed after %s", longest, grace)
	}
	if *deployment.Spec.Replicas < 2 || budget.Spec.MinAvailable.IntValue() != 1 ||
		deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Error("a replica must be there while another one goes")
	}
	if pod.PriorityClassName != priority.Name {
		t.Errorf("priority class: expected %s, got %s", priority.Name, pod.PriorityClassName)
	}
	if memory := pod.Containers[0].Resources.Limits.Memory().Value(); bodyMemory > memory/4 {
		t.Errorf("reviews may take %d bytes, a quarter of the memory limit is %d", bodyMemory, memory/4)
	}
	checkPorts(t, pod.Containers[0])
	checkProbes(t, pod.Containers[0])
}

func checkPorts(t *testing.T, container corev1.Container) {
	t.Helper()
	ports := map[string]string{}
	for _, p := range container.Ports {
		ports[p.Name] = ":" + strconv.Itoa(int(p.ContainerPort))
	}
	for name, want := range map[string]string{"https-webhook": webhookAddress, "probes": probeAddress,
		"metrics": metricsAddress} {
		if ports[name] != want {
			t.Errorf("port %s: the manifest has %q, the program listens at %q", name, ports[name], want)
		}
	}
}

// checkProbes wants somebody to answer at the paths in the manifest.
func checkProbes(t *testing.T, container corev1.Container) {
	t.Helper()
	a := &addOn{common: &common{metrics: metrics.New(version.Info{})}}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	probes := a.probes(stopped, serve.NewTraffic(http.NotFoundHandler(), time.Now), nil)
	recorder := httptest.NewRecorder()
	probes.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		container.ReadinessProbe.HTTPGet.Path, nil))
	if recorder.Code != http.StatusServiceUnavailable {
		t.Errorf("readiness after the stop: expected %d, got %d", http.StatusServiceUnavailable, recorder.Code)
	}
	mux, ok := probes.(*http.ServeMux)
	if !ok {
		t.Fatalf("the probes are a %T", probes)
	}
	live := httptest.NewRequestWithContext(t.Context(), http.MethodGet, container.LivenessProbe.HTTPGet.Path, nil)
	if _, pattern := mux.Handler(live); pattern != container.LivenessProbe.HTTPGet.Path {
		t.Errorf("nothing answers %s", container.LivenessProbe.HTTPGet.Path)
	}
}
