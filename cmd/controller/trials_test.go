// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestTrialPod: the keeper tries pods with everything that the backend adds to those of TaskRuns, so that a policy
// against any of it is found.
func TestTrialPod(t *testing.T) {
	k := &keeper{common: &common{signerImage: "reg.example/signer:v1", api: apiServer{
		address: "https://api.example:443", caData: []byte(certificatePEM("ca")),
	}}}
	s := settings.Default()
	s.Backend = signing.BackendSPIRE
	pod, err := k.inject(inject.Model("ci", "reg.example/entrypoint:v1"), settings.DeliveryImage, s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range delivery.NodeVolumes(pod, delivery.BackendVolumes()) {
		got = append(got, v.Driver)
	}
	if diff := cmp.Diff(backends.Of(s.Backend).Drivers(), got); diff != "" {
		t.Errorf("CSI drivers (-want +got):\n%s", diff)
	}
}
