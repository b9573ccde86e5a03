// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"context"
	"fmt"
	"log"
	"os"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// A TaskRun from a file, and the trust bundle of the cluster that ran it, are all that verification needs.
func Example() {
	data, err := os.ReadFile("../../docs/examples/trust-bundle.json")
	if err != nil {
		log.Fatal(err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		log.Fatal(err)
	}
	cluster, err := bundle.Cluster("") // the only one
	if err != nil {
		log.Fatal(err)
	}
	// The file holds no record of the add-on: that the pod which signed was this TaskRun's pod is the word of that pod alone.
	verifier, err := verify.New(cluster, verify.WithUnrecorded())
	if err != nil {
		log.Fatal(err)
	}

	tr := readExample("../../docs/examples/build.yaml")
	fmt.Println(verifier.TaskRun(context.Background(), tr, verify.Facts{}).Verdict)

	tr.Status.Results[0].Value = *v1.NewStructuredValues("sha256:0000")
	result := verifier.TaskRun(context.Background(), tr, verify.Facts{})
	fmt.Println(result.Verdict, result.Reason)
	// Output:
	// VERIFIED
	// FAILED results
}

// readExample returns the TaskRun in a file.
func readExample(name string) *v1.TaskRun {
	file, err := os.Open(name)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	for object := range source.Read(file) {
		tr, err := object.TaskRun()
		if err != nil {
			log.Fatal(err)
		}
		return tr
	}
	log.Fatalf("%s holds no TaskRun", name)
	return nil
}
