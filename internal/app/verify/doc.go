// Package verify checks backups of applications by what the application knows,
// straight from the repository: nothing is restored.
//
// The idea. An engine proves that a backup holds what its sources held. Whether that
// was whole - every file of a user has its blob, every attachment of an index its
// file, a dump its end - only the application's own rules tell. A check walks the
// saved trees, keeps one compact record an object, and reports each broken rule as a
// Finding. What is known already can be put into a Baseline, so that an old flaw does
// not hide a new one.
//
// Caveats. The trees are those of a stranger: metadata is decoded strictly and within
// bounds, and whatever is not as it should be is a finding, never a panic. A page or
// blob that the repository cannot deliver is a finding too (rule unreadable) unless
// the whole repository is out of reach, which is an error. Memory grows with the
// number of objects of the largest space (Ocis) or of attachments (Orthanc);
// docs/applications.md has the figures. Contents are streamed.
package verify
