// SPDX-License-Identifier: Apache-2.0

// Package tekton compares how tekton-sign and Tekton's controller resolve references to results. It is a
// separate module, because the controller's packages depend on the clients of every cloud's key store, which
// nothing else needs.
package tekton
