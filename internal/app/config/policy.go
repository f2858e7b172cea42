package config

// Keep is a retention policy. Numbers are of backups or periods; all keeps every
// one.
type Keep struct {
	Last    Count `yaml:"last" doc:"keep the newest N backups"`
	Hourly  Count `yaml:"hourly" doc:"keep the newest backup of each of the last N hours that have one"`
	Daily   Count `yaml:"daily" doc:"likewise of N days"`
	Weekly  Count `yaml:"weekly" doc:"likewise of N weeks"`
	Monthly Count `yaml:"monthly" doc:"likewise of N months"`
	Yearly  Count `yaml:"yearly" doc:"likewise of N years"`

	Within        Span `yaml:"within" doc:"keep all that are at most this much older than the newest, as 14d or 1y6m"`
	WithinHourly  Span `yaml:"within-hourly" doc:"keep one of each hour of this span"`
	WithinDaily   Span `yaml:"within-daily" doc:"keep one of each day of this span"`
	WithinWeekly  Span `yaml:"within-weekly" doc:"keep one of each week of this span"`
	WithinMonthly Span `yaml:"within-monthly" doc:"keep one of each month of this span"`
	WithinYearly  Span `yaml:"within-yearly" doc:"keep one of each year of this span"`

	Tags Tags  `yaml:"tags" doc:"keep backups with one of these tags; an empty value stands for any"`
	Ages Bands `yaml:"ages" doc:"SPAN=all|oldest|newest: of the backups up to this age, and beyond the band before, keep these"`
}

// Preflight is what must be so before anything is touched.
type Preflight struct {
	RequireMount Strings         `yaml:"require-mount" doc:"directories on which something must be mounted"`
	Health       Steps           `yaml:"health" doc:"commands that must succeed"`
	FreeSpace    map[string]Size `yaml:"free-space" doc:"bytes that must be free, by directory"`
}

// Hooks are commands around the run. An exit status of 75 in before skips the run
// without failing it.
type Hooks struct {
	Before    Steps `yaml:"before" doc:"before anything else"`
	After     Steps `yaml:"after" doc:"after the backup is stored"`
	OnFailure Steps `yaml:"on-failure" doc:"when something failed"`
	Finally   Steps `yaml:"finally" doc:"at the end, whatever happened, also after a crash"`
}

// Quiesce brings an application to rest and back.
type Quiesce struct {
	Enter   Phase    `yaml:"enter" need:"yes" doc:"commands that bring it to rest"`
	Leave   Phase    `yaml:"leave" need:"yes" doc:"commands that bring it back; also run when enter failed, and may run twice"`
	Prewarm bool     `yaml:"prewarm" doc:"store everything once before, so that only what changed meanwhile is read while it is at rest"`
	Timeout Duration `yaml:"timeout" doc:"how long it may be at rest; default 1h"`
	Store   Duration `yaml:"store-patience" doc:"how long the repository may take nothing while it is at rest, before it is brought back and the run fails; default 2m"`
}

// Restore says how an application is brought back.
type Restore struct {
	Before    Steps     `yaml:"before" doc:"before anything else"`
	Enter     Phase     `yaml:"enter" doc:"commands that stop the application or put it to rest"`
	After     Steps     `yaml:"after" doc:"when everything is restored, before leave"`
	Leave     Phase     `yaml:"leave" doc:"the opposite of enter: always run once enter has begun"`
	OnFailure Steps     `yaml:"on-failure" doc:"when something failed"`
	Finally   Steps     `yaml:"finally" doc:"at the end, whatever happened"`
	Clean     bool      `yaml:"clean" doc:"remove from the targets what the backup does not have"`
	Compare   []Compare `yaml:"compare" doc:"identities that must agree before something is written over an instance"`
}

// Compare is a comparison of fields of a YAML file in the backup with the one that
// is there.
type Compare struct {
	Volume string  `yaml:"volume" need:"yes" doc:"name of the volume"`
	File   string  `yaml:"file" doc:"path in the volume; default: the volume itself"`
	With   string  `yaml:"with" doc:"the file that is there; default: where the volume goes"`
	Preset string  `yaml:"preset" enum:"ocis" doc:"a list of fields that this program knows"`
	Fields Strings `yaml:"fields" doc:"fields, as idp.ldap.bind_password"`
}

// VolumeBack says how one volume is brought back.
type VolumeBack struct {
	To       string   `yaml:"to" doc:"where it goes; default: where it came from"`
	Command  *Command `yaml:"command" doc:"a command that gets the content on its standard input"`
	Before   Steps    `yaml:"before" doc:"before this volume"`
	After    Steps    `yaml:"after" doc:"after this volume"`
	Clean    *bool    `yaml:"clean" doc:"remove what the backup does not have; recreate a database"`
	OwnerMap Strings  `yaml:"owner-map" doc:"KIND:FROM=TO: give what belonged to FROM to TO; KIND is user, group, uid or gid"`
	SkipAttr Strings  `yaml:"skip-xattrs" doc:"extended attributes that are not restored, as security.*"`
	Skip     bool     `yaml:"skip" doc:"restore it only when it is named"`
	Replace  bool     `yaml:"replace" doc:"replace a Redis key that exists, or an SQLite database that is in use"`
	Database string   `yaml:"database" doc:"database into which a dump goes; default: the one that was dumped"`
	Owner    string   `yaml:"owner" doc:"role that owns a PostgreSQL database made anew"`
}

// Verify says how the backups of an application are checked by what it knows.
type Verify struct {
	Schedule  Schedule         `yaml:"schedule" doc:"when"`
	Ocis      *VerifyOcis      `yaml:"ocis" doc:"a user storage of ownCloud Infinite Scale"`
	OrthancPG *VerifyOrthancPG `yaml:"orthanc-pg" doc:"an index of Orthanc in PostgreSQL against its files"`
	SQLTail   *VerifySQLTail   `yaml:"sql-tail" doc:"dumps that end as complete ones do"`
}

// VerifyOcis says where a decomposedfs lies in the backup.
type VerifyOcis struct {
	Volume   string `yaml:"volume" need:"yes" doc:"volume that holds it"`
	Root     string `yaml:"root" doc:"path of it in the volume"`
	Blobs    string `yaml:"blobs" doc:"volume of a bucket that holds the blobs, of the driver s3ng"`
	Baseline string `yaml:"baseline" doc:"file of findings that are known and do not count"`
}

// VerifyOrthancPG says where index and files of Orthanc lie.
type VerifyOrthancPG struct {
	Dump   string `yaml:"dump" need:"yes" doc:"volume that is the dump of the index"`
	Images string `yaml:"images" need:"yes" doc:"volume that holds the files"`
	Root   string `yaml:"root" doc:"path of the storage in that volume"`
}

// VerifySQLTail names dumps.
type VerifySQLTail struct {
	Volumes Strings `yaml:"volumes" need:"yes" doc:"volumes that are dumps"`
	Expect  string  `yaml:"expect" doc:"text that their end must hold; default: that of pg_dump or mysqldump"`
}

// Rehearse is a trial restore.
type Rehearse struct {
	Schedule Schedule `yaml:"schedule" doc:"when"`
	Target   string   `yaml:"target" doc:"directory in which a new one is made for it; default: TMPDIR, else /var/tmp"`
	Volumes  Strings  `yaml:"volumes" doc:"names of volumes; default: all"`
	Check    Steps    `yaml:"check" doc:"commands that must succeed, in the directory of the restore"`
	Timeout  Duration `yaml:"timeout" doc:"how long it may take"`
}

// Health says when an application counts as well kept.
type Health struct {
	MaxAge       Duration `yaml:"max-age" doc:"age of the last complete backup; default: by its schedule"`
	MaxCheckAge  Duration `yaml:"max-check-age" doc:"age of the last good check of the repository"`
	MaxVerifyAge Duration `yaml:"max-verify-age" doc:"age of the last good verification"`
	MaxRehearsal Duration `yaml:"max-rehearsal-age" doc:"age of the last good trial restore"`
	MaxCopyLag   Duration `yaml:"max-copy-lag" doc:"how far a copy may lag behind"`
}

// Copy is a standing order to copy backups from one repository to another.
type Copy struct {
	Name          string       `yaml:"-"`
	From          *Destination `yaml:"from" need:"yes" doc:"repository to read"`
	To            *Destination `yaml:"to" need:"yes" doc:"repository to write"`
	Apps          Strings      `yaml:"apps" doc:"applications whose backups are copied; default: all of the repository"`
	After         string       `yaml:"after" doc:"copy whenever there is a new backup of this application: after its run here, or seen by polling the source"`
	Poll          Duration     `yaml:"poll" doc:"how often the source is asked for new backups; default 15m"`
	Schedule      Schedule     `yaml:"schedule" doc:"when"`
	RandomDelay   Duration     `yaml:"random-delay" doc:"scheduled copies begin up to this much later, by chance"`
	LimitUpload   Size         `yaml:"limit-upload" doc:"bytes a second to the target at most"`
	LimitDownload Size         `yaml:"limit-download" doc:"bytes a second from the source at most"`
	Keep          *Keep        `yaml:"keep" doc:"which backups to keep in the target"`
	Notify        Strings      `yaml:"notify" doc:"names of notify targets"`
	Metrics       string       `yaml:"metrics" doc:"directory of textfiles for node_exporter"`
}

// Notify is somebody who is told. Exactly one kind is set.
type Notify struct {
	Name     string   `yaml:"-"`
	On       Moments  `yaml:"on" doc:"when: any of fail, partial, success, always, recovered; default fail, partial and recovered; of a ping always"`
	Webhook  *Webhook `yaml:"webhook" doc:"an HTTP request"`
	Ping     *Ping    `yaml:"ping" doc:"a health check that notices when nothing comes"`
	Ntfy     *Ntfy    `yaml:"ntfy" doc:"a topic of an ntfy server"`
	Email    *Email   `yaml:"email" doc:"a mail"`
	Subject  string   `yaml:"subject" doc:"template of the subject or title"`
	Template string   `yaml:"template" doc:"template of the text"`
	Timeout  Duration `yaml:"timeout" doc:"how long sending may take; default 30s"`
}

// Address is a URL that may be a secret itself. Exactly one field is set.
type Address struct {
	URL     string `yaml:"url" doc:"the URL, if it holds no secret"`
	URLFile string `yaml:"url-file" doc:"file that holds it"`
	URLEnv  string `yaml:"url-env" doc:"environment variable that holds it"`
}

// Token says where a token is.
type Token struct {
	TokenFile string `yaml:"token-file" doc:"file that holds the token"`
	TokenEnv  string `yaml:"token-env" doc:"environment variable that holds it"`
}

// Webhook is an HTTP request.
type Webhook struct {
	Address `yaml:",inline"`
	Token   `yaml:",inline"`
	Method  string      `yaml:"method" enum:"POST,PUT,GET" doc:"POST, if not given"`
	Headers Environment `yaml:"headers" doc:"further headers; no place for secrets"`
}

// Ping is a health check: the URL for success, and URL/fail and URL/start.
type Ping struct {
	Address `yaml:",inline"`
	Start   bool `yaml:"start" doc:"also tell when a run begins"`
}

// Ntfy is a topic of an ntfy server.
type Ntfy struct {
	Address  `yaml:",inline"`
	Token    `yaml:",inline"`
	Topic    string `yaml:"topic" need:"yes" doc:"name of the topic"`
	Priority string `yaml:"priority" enum:"min,low,default,high,urgent" doc:"of failures; default high"`
}

// Email is a mail over SMTP.
type Email struct {
	Server   string  `yaml:"server" need:"yes" doc:"host:port"`
	TLS      string  `yaml:"tls" enum:"starttls,tls,none" doc:"starttls, if not given"`
	From     string  `yaml:"from" need:"yes" doc:"address"`
	To       Strings `yaml:"to" need:"yes" doc:"addresses"`
	User     string  `yaml:"user" doc:"user"`
	Password `yaml:",inline"`
}
