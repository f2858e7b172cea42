// Package config reads the configuration of applications: which there are, what
// belongs to each of them, and when, where and how it is backed up, copied,
// restored, verified and reported.
//
// The idea. A configuration is plain structs, and the tags of their fields say
// everything else: the key (yaml), whether it must be there (need), and the text
// of the reference (doc). One decoder, one encoder and one JSON schema follow from
// these by reflection, so that they cannot disagree. The decoder walks the syntax
// tree and goes on after a mistake: it returns all mistakes of a file at once, each
// with line, column and what to do, among it the nearest key that exists. What
// joins several places - a name that must be that of a repository, a volume with
// two sources - is checked afterwards and reported at the same places.
//
// A secret never stands in a configuration: it says which file, command or
// environment variable has it. A command is a list of arguments, which nobody
// splits or expands; a line for a shell says so by {shell: "..."}.
//
// The package reads files and nothing else: it asks no clock, no network and no
// environment, and runs nothing. Values are as they were written; paths of volumes
// are resolved by who backs them up.
package config

// Version is the only version of the configuration there is.
const Version = 1

// Config is a whole configuration file.
type Config struct {
	Version      int                    `yaml:"version" need:"yes" doc:"1"`
	Repositories map[string]*Repository `yaml:"repositories" need:"yes" doc:"the repositories, by a name of your choice"`
	Defaults     Defaults               `yaml:"defaults" doc:"what counts for every application that does not say otherwise"`
	Apps         map[string]*App        `yaml:"apps" doc:"the applications, by name; a backup's group is that name"`
	Copies       map[string]*Copy       `yaml:"copies" doc:"copies from one repository to another, by a name of your choice"`
	Notify       map[string]*Notify     `yaml:"notify" doc:"who is told, by a name of your choice"`

	// File is where the configuration was read from, for messages.
	File string `yaml:"-"`
	at   positions
}

// Repository is a place where backups go, and how to get there.
type Repository struct {
	URL      string `yaml:"url" need:"yes" doc:"a directory, sftp://user@host/path, or s3://bucket/prefix"`
	Password `yaml:",inline"`
	Init     InitPolicy `yaml:"init" doc:"whether to make the repository where none is and none was seen before"`

	SFTPCommand    *Command `yaml:"sftp-command" doc:"a program that speaks SFTP on its standard input and output, instead of SSH"`
	SFTPIdentity   Strings  `yaml:"sftp-identity" doc:"private key files for SSH; default: as ~/.ssh/config says"`
	SFTPKnownHosts Strings  `yaml:"sftp-known-hosts" doc:"files of known hosts; default: as ~/.ssh/config says"`
	S3Endpoint     string   `yaml:"s3-endpoint" doc:"URL of the store of s3://BUCKET, if it is not Amazon's"`
	S3Region       string   `yaml:"s3-region" doc:"region of the bucket"`
	S3Style        string   `yaml:"s3-style" enum:"auto,path,host" doc:"where the bucket goes in requests"`
	S3StorageClass string   `yaml:"s3-storage-class" doc:"storage class of new data packs"`
	S3ObjectLock   string   `yaml:"s3-object-lock" doc:"MODE:TIME, as compliance:30d: the store refuses to delete what a restore needs for so long, which runs and copies extend; default: VAULT_S3_OBJECT_LOCK"`
	S3Credentials  string   `yaml:"s3-credentials-file" doc:"file of access keys in the form of ~/.aws/credentials; default: the environment's, then the shared files'"`
	S3Profile      string   `yaml:"s3-profile" doc:"section of that file, or of the shared ones"`

	LimitUpload   Size       `yaml:"limit-upload" doc:"bytes a second to a remote repository at most"`
	LimitDownload Size       `yaml:"limit-download" doc:"bytes a second from a remote repository at most"`
	Compression   string     `yaml:"compression" enum:"none,fastest,default,better,best" doc:"instead of the repository's own"`
	Prune         PrunePol   `yaml:"prune" doc:"whether a run that forgot backups also removes what only they needed"`
	Check         *RepoCheck `yaml:"check" doc:"regular checks of the repository"`
}

// RepoCheck says when a repository is checked, and how thoroughly.
type RepoCheck struct {
	Schedule Schedule `yaml:"schedule" need:"yes" doc:"when"`
	ReadData string   `yaml:"read-data" doc:"how much of the data to read: none (default), all, or a part such as 5%, 10G or 1/7"`
}

// Password says where a passphrase or password is. At most one field is set.
type Password struct {
	PasswordFile    string   `yaml:"password-file" doc:"file that holds it; one newline at the end does not count"`
	PasswordCommand *Command `yaml:"password-command" doc:"command that prints it"`
	PasswordEnv     string   `yaml:"password-env" doc:"environment variable that holds it"`
}

// Given reports whether the configuration says where the password is.
func (p Password) Given() bool {
	return p.PasswordFile != "" || p.PasswordCommand != nil || p.PasswordEnv != ""
}

// Defaults count for all applications.
type Defaults struct {
	To          *Destination `yaml:"to" doc:"repository"`
	Schedule    Schedule     `yaml:"schedule" doc:"when"`
	RandomDelay Duration     `yaml:"random-delay" doc:"scheduled runs begin up to this much later, by chance"`
	Keep        *Keep        `yaml:"keep" doc:"which backups to keep"`
	Metrics     string       `yaml:"metrics" doc:"directory of textfiles for node_exporter"`
	Notify      Strings      `yaml:"notify" doc:"names of notify targets"`
	Host        string       `yaml:"host" doc:"host to record instead of this machine's name"`
	Exclude     Strings      `yaml:"exclude" doc:"patterns that are left out of every path and container volume"`
	Health      *Health      `yaml:"health" doc:"what counts as healthy"`
	Timeout     Duration     `yaml:"timeout" doc:"how long a whole run may take"`
	HookTimeout Duration     `yaml:"hook-timeout" doc:"how long a single hook may take; default 1h"`
	Environment Environment  `yaml:"environment" doc:"variables for hooks and commands; no place for secrets"`
}

// App is one application: volumes that only make sense together.
type App struct {
	Name        string `yaml:"-"`
	Description string `yaml:"description" doc:"for people"`

	Schedule    Schedule     `yaml:"schedule" doc:"when to run: an OnCalendar expression of systemd, or a list of them"`
	RandomDelay Duration     `yaml:"random-delay" doc:"scheduled runs begin up to this much later, by chance"`
	To          *Destination `yaml:"to" doc:"repository: a name, or {repo: NAME, path: DIR} for a repository of its own below it"`
	Keep        *Keep        `yaml:"keep" doc:"which backups to keep, after each run"`
	Host        string       `yaml:"host" doc:"host to record instead of this machine's name"`
	Tags        Tags         `yaml:"tags" doc:"tags of its backups"`
	Timeout     Duration     `yaml:"timeout" doc:"how long a whole run may take"`
	HookTimeout Duration     `yaml:"hook-timeout" doc:"how long a single hook may take; default 1h"`
	Environment Environment  `yaml:"environment" doc:"variables for hooks and commands; no place for secrets"`

	Roots   map[string]*Root   `yaml:"roots" doc:"what the first component of relative paths stands for"`
	Volumes map[string]*Volume `yaml:"volumes" doc:"what belongs to it"`
	Dogus   []Dogu             `yaml:"dogus" doc:"dogus whose volumes that need a backup belong to it, as DOGU-VOLUME"`

	Preflight Preflight `yaml:"preflight" doc:"what must be so before anything begins"`
	Hooks     Hooks     `yaml:"hooks" doc:"commands around the run"`
	Quiesce   *Quiesce  `yaml:"quiesce" doc:"how the application is brought to rest for as short as possible"`

	Restore  Restore   `yaml:"restore" doc:"how it is brought back"`
	Verify   *Verify   `yaml:"verify" doc:"checks of its backups by what the application knows"`
	Rehearse *Rehearse `yaml:"rehearse" doc:"trial restores"`
	Health   *Health   `yaml:"health" doc:"what counts as healthy"`

	Notify  Strings  `yaml:"notify" doc:"names of notify targets"`
	Metrics string   `yaml:"metrics" doc:"directory of textfiles for node_exporter"`
	OneFS   bool     `yaml:"one-file-system" doc:"do not enter file systems that are mounted below its volumes"`
	Sidecar *Sidecar `yaml:"sidecar" doc:"a plaintext note beside a repository of its own, readable without the key"`
}

// Destination is where the backups of an application go.
type Destination struct {
	Repo string `yaml:"repo" need:"yes" doc:"name of a repository"`
	Path string `yaml:"path" doc:"directory below it that holds a repository of this application alone"`
}

// Sidecar says what may be read without the key.
type Sidecar struct {
	Enabled bool `yaml:"enabled" doc:"write it"`
}

// Root is what the first component of a relative path stands for: a directory,
// or the volumes of a container engine.
type Root struct {
	Path   string     `yaml:"path" doc:"a directory"`
	Podman EngineMode `yaml:"podman" doc:"the volumes of podman: NAME/... is in the volume NAME"`
	Docker EngineMode `yaml:"docker" doc:"the volumes of docker"`
	Prefix string     `yaml:"prefix" doc:"what the engine's names of volumes have before NAME, as 'dokuwiki1-'"`
	User   string     `yaml:"user" doc:"whose rootless volumes; default: who runs this"`
}

// Volume is one part of an application. Exactly one kind of source is set.
type Volume struct {
	Name       string `yaml:"-"`
	Class      Class  `yaml:"class" doc:"what happens to the backup when it is missing or empty"`
	MinSize    Size   `yaml:"min-size" doc:"bytes of content that there must be"`
	ExpectTail string `yaml:"expect-tail" doc:"text that must stand within the last 4096 bytes of a command's output or a dump"`

	Path        string      `yaml:"path" doc:"a file or a directory with all below it; relative to roots"`
	Container   *Container  `yaml:"container" doc:"a volume of podman or docker"`
	Command     *Command    `yaml:"command" doc:"a command whose standard output is the content"`
	Postgres    *Postgres   `yaml:"postgres" doc:"a dump of a PostgreSQL database"`
	MySQL       *MySQL      `yaml:"mysql" doc:"a dump of a MySQL or MariaDB database"`
	Redis       *Redis      `yaml:"redis" doc:"a key of Redis, as DUMP gives it"`
	SQLite      *SQLite     `yaml:"sqlite" doc:"an SQLite database, copied by its online backup"`
	S3          *S3Source   `yaml:"s3" doc:"a bucket, or what is below a prefix of it"`
	IncludeFrom Strings     `yaml:"include-from" doc:"files that list what belongs to it, relative to roots"`
	ExcludeFrom Strings     `yaml:"exclude-from" doc:"files of patterns of what is left out"`
	Include     Strings     `yaml:"include" doc:"the same as include-from, written here"`
	Exclude     Strings     `yaml:"exclude" doc:"patterns of what is left out"`
	Syntax      string      `yaml:"pattern-syntax" enum:"gitignore,restic" doc:"how patterns are meant; restic where include-from is given"`
	IgnoreFiles Strings     `yaml:"ignore-files" doc:"names of files, as .gitignore, that hold patterns for their directory"`
	IfPresent   Strings     `yaml:"exclude-if-present" doc:"FILENAME[:HEADER]: leave out the rest of directories with it"`
	Caches      bool        `yaml:"exclude-caches" doc:"leave out the rest of directories with a CACHEDIR.TAG"`
	LargerThan  Size        `yaml:"exclude-larger-than" doc:"leave out larger files"`
	OneFS       *bool       `yaml:"one-file-system" doc:"do not enter file systems that are mounted below it; default: that of the application"`
	Restore     *VolumeBack `yaml:"restore" doc:"how it is brought back"`

	rank int // place among the volumes of its application, as they were written
}

// Container is a volume of a container engine.
type Container struct {
	Engine string `yaml:"engine" enum:"podman,docker" doc:"podman, if not given"`
	Volume string `yaml:"volume" need:"yes" doc:"name of the volume"`
	Path   string `yaml:"path" doc:"below it; default: all of it"`
	User   string `yaml:"user" doc:"whose rootless volume; default: who runs this"`
}

// Postgres is a dump of a PostgreSQL database by pg_dump.
type Postgres struct {
	Database string `yaml:"database" doc:"name of the database; needed unless globals is set"`
	Host     string `yaml:"host" doc:"host, or directory of the socket; default: the usual socket"`
	Port     int    `yaml:"port" doc:"port"`
	User     string `yaml:"user" doc:"role"`
	Password `yaml:",inline"`
	Format   string  `yaml:"format" enum:"plain,custom" doc:"plain SQL (default), or pg_dump -Fc -Z0"`
	Globals  bool    `yaml:"globals" doc:"the roles and tablespaces of the whole server (pg_dumpall --globals-only) instead of a database"`
	Options  Strings `yaml:"options" doc:"further arguments of pg_dump"`
	Exec     *Exec   `yaml:"exec" doc:"where the programs of the database are run, if not here"`
}

// MySQL is a dump of a MySQL or MariaDB database.
type MySQL struct {
	Database string `yaml:"database" need:"yes" doc:"name of the database"`
	Host     string `yaml:"host" doc:"host"`
	Port     int    `yaml:"port" doc:"port"`
	Socket   string `yaml:"socket" doc:"path of the socket"`
	User     string `yaml:"user" doc:"user"`
	Password `yaml:",inline"`
	Options  Strings `yaml:"options" doc:"further arguments of the dump program"`
	Exec     *Exec   `yaml:"exec" doc:"where the programs of the database are run, if not here"`
}

// Exec is a prefix of the commands of a database: they run in a container, or as
// somebody else.
type Exec struct {
	Prefix Strings `yaml:"prefix" doc:"arguments before the program's own, as [podman, exec, -i, db]"`
	User   string  `yaml:"user" doc:"account of this system that runs them, as postgres"`
}

// Redis is one key of a Redis server, or all that match a pattern.
type Redis struct {
	Key      string `yaml:"key" doc:"the key"`
	Pattern  string `yaml:"pattern" doc:"all keys that match, as module/dokuwiki1/*, instead"`
	Address  string `yaml:"address" doc:"host:port or path of the socket; default 127.0.0.1:6379"`
	User     string `yaml:"user" doc:"user"`
	Database int    `yaml:"database" doc:"number of the database"`
	Password `yaml:",inline"`
}

// SQLite is a database file.
type SQLite struct {
	Path string `yaml:"path" need:"yes" doc:"the database file; relative to roots"`
}

// S3Source is a bucket whose objects are backed up.
type S3Source struct {
	URL        string `yaml:"url" need:"yes" doc:"s3://BUCKET/PREFIX"`
	Endpoint   string `yaml:"endpoint" doc:"URL of the store, if it is not Amazon's"`
	Region     string `yaml:"region" doc:"region of the bucket"`
	Style      string `yaml:"style" enum:"auto,path,host" doc:"where the bucket goes in requests"`
	KeyFile    string `yaml:"access-key-file" doc:"file that holds the access key; default: the environment's and the shared files'"`
	SecretFile string `yaml:"secret-key-file" doc:"file that holds the secret key"`
}

// Dogu imports the volumes that a dogu.json describes.
type Dogu struct {
	File  string `yaml:"file" need:"yes" doc:"the dogu.json"`
	Root  string `yaml:"root" need:"yes" doc:"directory that holds its volumes, by name"`
	Class Class  `yaml:"class" doc:"class of the volumes"`
}
