// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Verification needs only a TaskRun from a file and the trust bundle of the cluster that ran it.
func Example() {
	data, err := os.ReadFile("../../docs/examples/trust-bundle.json")
	if err != nil {
		log.Fatal(err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		log.Fatal(err)
	}
	cluster, err := bundle.Cluster("") // the only cluster
	if err != nil {
		log.Fatal(err)
	}
	// The file holds the add-on's record, which proves that the pod was this TaskRun's.
	verifier, err := verify.New(cluster)
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
	data, err := os.ReadFile(name)
	if err != nil {
		log.Fatal(err)
	}
	for object := range source.Read(bytes.NewReader(data)) {
		tr, err := object.TaskRun()
		if err != nil {
			log.Fatal(err)
		}
		return tr
	}
	log.Fatalf("%s holds no TaskRun", name)
	return nil
}
