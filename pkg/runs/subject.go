// SPDX-License-Identifier: Apache-2.0

// Package runs reads selected TaskRuns and PipelineRuns from a cluster or from files, and verifies them. It reads
// one at a time, so memory does not grow with their number. It does not print.
package runs

import (
	"sync"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Selection is what to verify: objects of a cluster, or files.
type Selection struct {
	Files     []string // files and folders
	Recursive bool     // also the folders in folders

	Args            []string // kubectl's arguments; none: all TaskRuns
	Selector        string   // of labels
	AllNamespaces   bool
	AllowCustomRuns bool // read custom runs, although nothing proves their results
}

// Cluster is where objects are read from.
type Cluster struct {
	Config  genericclioptions.RESTClientGetter
	Connect func() (*rest.Config, error)
	Explain func(error) error // adds the next step to an error of the cluster
}

// Subject is something to verify. One of several workers reads it when its turn comes.
type Subject struct {
	Place string                      // file and position, or the argument; empty if there is only one
	Read  func() (*v1.TaskRun, error) // nil for a note and for a PipelineRun
	Size  int                         // of the object in a file, in bytes
	Note  string                      // a note for people in place of an object

	JSON func() ([]byte, error) // the object in a file, of any kind; nil: a TaskRun, which Read returns

	Running     bool         // the note is about something that still runs
	PipelineRun *PipelineRun // it comes after its children

	live   bool    // it comes from the API server
	shared *shared // of a child of a PipelineRun, nil otherwise
}

// Prefix is the beginning of an error about the subject.
func (s Subject) Prefix() string {
	if s.Place == "" {
		return ""
	}
	return s.Place + ": "
}

// shared keeps the finding about a subject that is selected twice: as itself, and as a child.
type shared struct {
	once    sync.Once
	finding Finding
	taskRun *v1.TaskRun
}

// Finding is the outcome for a subject. One of Item, Err, Note and PipelineRun is set.
type Finding struct {
	Place       string
	Item        *report.Item
	Err         error // can contain a *Problem, which has a verdict
	Note        string
	PipelineRun *report.PipelineRun
}

// Problem is an error that counts as a verdict.
type Problem struct {
	Verdict verify.Verdict
	Err     error
}

func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }
