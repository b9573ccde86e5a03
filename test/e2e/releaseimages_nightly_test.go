// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"path/filepath"
	"testing"
)

// TestNightlyReleaseImages signs with the images that a release has, delivered in both ways. The lab's usual images
// hold the same programs, and are put together by the lab.
func TestNightlyReleaseImages(t *testing.T) {
	c := open(t)
	const registry, version = "localhost/release", "v0.0.0-dev"
	out := t.TempDir()
	if built := run(t.Context(), t, "", nil, "make", "-C", "../..", "bin/tools/images"); built.code != 0 {
		t.Fatalf("building the builder of images: %s", built)
	}
	images, err := filepath.Abs("../../bin/tools/images")
	must(t, err)
	built := run(t.Context(), t, "", nil, images, "--source", "../..", "--out", out, "--version", version)
	if built.code != 0 {
		t.Fatalf("building the images: %s", built)
	}
	for _, image := range []string{"signer", "controller"} {
		lab(t, "load", registry+"/"+image+":"+version, "--layout", filepath.Join(out, image))
	}
	for _, delivery := range []string{"init", "image"} {
		c.enableWith(t, "oidc-sa-token", "--registry", registry, "--delivery", delivery, "--namespace-selector", selector)
		tr := c.finish(t, c.namespace(t, true), fixture(t, "restricted"))
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
		if got := deliveryOf(c.pod(t, tr.Namespace, tr.Status.PodName)); got != delivery {
			t.Errorf("the signer came by %s, want %s", got, delivery)
		}
	}
}
