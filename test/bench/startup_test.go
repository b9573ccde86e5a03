// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package bench

import (
	"os/exec"
	"testing"
)

// BenchmarkStartup starts the plugin and, in turn, kubectl, which PATH names. A run is one process of each.
func BenchmarkStartup(b *testing.B) {
	const plugin = "../../bin/kubectl-tekton_sign"
	for name, of := range map[string]struct{ plugin, kubectl []string }{
		"help":    {[]string{"--help"}, []string{"--help"}},
		"version": {[]string{"version"}, []string{"version", "--client"}},
		"verify": {[]string{
			"verify", "-f", "../../docs/examples/build.yaml", "--trust-bundle", "../../docs/examples/trust-bundle.json",
		}, []string{"version", "--client"}},
	} {
		b.Run(name, func(b *testing.B) {
			var ours, theirs float64
			for b.Loop() {
				ours += timed(b, plugin, of.plugin)
				theirs += timed(b, "kubectl", of.kubectl)
			}
			b.ReportMetric(ours/float64(b.N), "ms-plugin")
			b.ReportMetric(theirs/float64(b.N), "ms-kubectl")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// timed runs a program to its end and returns how long that took, in milliseconds.
func timed(b *testing.B, program string, args []string) float64 {
	b.Helper()
	command := exec.CommandContext(b.Context(), program, args...) // #nosec G204 -- both programs are of this test
	before := b.Elapsed()
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return float64((b.Elapsed() - before).Microseconds()) / 1000
}
