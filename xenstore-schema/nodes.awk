# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes of nodes.txt, by -v out=h|c|7: schema.h, schema.c or the manual page.
# POSIX awk. A line that it does not understand ends it with a message.

function fail(text)
{
	printf "%s:%d: %s\n", FILENAME, FNR, text > "/dev/stderr"
	failed = 1
	exit 1
}

function c_name(name)
{
	gsub(/[^a-z0-9]/, "_", name)
	return name
}

function upper(name)
{
	return toupper(c_name(name))
}

function roff(text)
{
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	sub(/^[.']/, "\\\\\\&&", text)
	return text
}

# Prints text in lines of at most 78 columns.
function wrap(text,    w, k, i, line)
{
	k = split(text, w, " ")
	line = ""
	for (i = 1; i <= k; i++) {
		if (line != "" && length(line) + length(w[i]) > 77) {
			print roff(line)
			line = ""
		}
		line = line (line == "" ? "" : " ") w[i]
	}
	if (line != "")
		print roff(line)
}

function join_writers(writers)
{
	sub(/,/, " or ", writers)
	return writers
}

# Fills the parts of a type; returns its enumerator.
function parse_type(type,    p, n)
{
	n = split(type, p, ":")
	t_min = "0"; t_max = "0"; t_words = ""
	if (type == "bool") {
		t_max = "1"; t_c = "bool"
		t_man = "0 or 1"
		return "BOOL"
	}
	if (p[1] == "uint" && n == 3) {
		t_min = p[2]; t_max = p[3]; t_c = "uint32_t"
		t_man = "number, " p[2] " to " p[3]
		return "U32"
	}
	if (p[1] == "uint64" && n == 3) {
		t_min = p[2]; t_max = p[3]; t_c = "uint64_t"
		t_man = "number, " p[2] " to " p[3]
		return "U64"
	}
	if (type == "domid") {
		t_max = "32751"; t_c = "uint32_t"
		t_man = "domain number"
		return "U32"
	}
	if (type == "state") {
		t_min = "1"; t_max = "8"; t_c = "uint32_t"
		t_man = "state, 1 to 8"
		return "U32"
	}
	if ((p[1] == "text" || p[1] == "path" || p[1] == "name") && n == 2) {
		t_max = p[2]; t_c = "char"
		t_man = p[1] ", at most " p[2] " bytes"
		return p[1] == "text" ? "TEXT" : p[1] == "path" ? "PATH" : "NAME"
	}
	if (type == "uuid") {
		t_max = "36"; t_c = "char"
		t_man = "UUID"
		return "UUID"
	}
	if (p[1] == "hex" && n == 2) {
		t_min = p[2]; t_max = p[2]; t_c = "char"
		t_man = p[2] " hexadecimal digits"
		return "HEX"
	}
	if (p[1] == "word" && n == 2) {
		t_words = p[2]; t_c = "char"; t_max = "63"
		t_man = p[2]
		gsub(/,/, " or ", t_man)
		return "WORD"
	}
	fail("no such type: " type)
}

BEGIN {
	groups = nodes = 0
}

/^#/ || /^[ \t]*$/ { next }

/^group / {
	if (NF < 3 || NF > 4)
		fail("group NAME PATH [KINDS]")
	g = ++groups
	group_name[g] = $2; group_path[g] = $3; group_kinds[g] = $4
	group_first[g] = nodes + 1
	group_last[g] = nodes
	where = "group"
	next
}

/^node / {
	if (!groups || NF != 5)
		fail("node NAME WRITER TYPE DEFAULT, below a group")
	if ((groups, $2) in seen)
		fail("twice: " $2)
	seen[groups, $2] = 1
	n = ++nodes
	node_name[n] = $2; node_writer[n] = $3
	node_type[n] = $4; node_default[n] = $5
	if ($3 !~ /^(toolstack|backend|frontend)(,(backend|frontend))?$/)
		fail("no such writer: " $3)
	node_kind[n] = parse_type($4)
	node_c[n] = t_c; node_min[n] = t_min; node_max[n] = t_max
	node_words[n] = t_words; node_man[n] = t_man
	if ($5 !~ /^(required|optional|alone|[0-9]+)$/)
		fail("no such default: " $5)
	if ($5 ~ /^[0-9]/ && t_c == "char")
		fail("a text has no default")
	group_last[groups] = n
	where = "node"
	next
}

/^[ \t]/ && where == "group" {
	sub(/^[ \t]+/, "")
	group_text[groups] = group_text[groups] (group_text[groups] ? " " : "") $0
	next
}

/^[ \t]/ && where == "node" {
	sub(/^[ \t]+/, "")
	node_text[nodes] = node_text[nodes] (node_text[nodes] ? " " : "") $0
	next
}

{ fail("neither group, node, meaning nor comment") }

function in_struct(n)
{
	return node_default[n] != "alone"
}

function struct_of(g,    n, any)
{
	any = 0
	for (n = group_first[g]; n <= group_last[g]; n++)
		if (in_struct(n))
			any = 1
	return any
}

function make_h(    g, n, c)
{
	print "/* SPDX-License-Identifier: LGPL-2.1-or-later"
	print " *"
	print " * Made by nodes.awk of nodes.txt: change that. What xenstore's nodes may"
	print " * hold, as structs and as tables; schema-read.h judges by them."
	print " */"
	print "#ifndef FARSIDE_XENSTORE_SCHEMA_H"
	print "#define FARSIDE_XENSTORE_SCHEMA_H"
	print ""
	print "#include \"xenstore-schema/schema-read.h\""
	for (g = 1; g <= groups; g++) {
		print ""
		print "/* " group_path[g] " */"
		for (n = group_first[g]; n <= group_last[g]; n++)
			printf "#define FAR_NODE_%s_%s \"%s\"\n", \
			    upper(group_name[g]), upper(node_name[n]), node_name[n]
		print "extern const struct far_schema_group far_schema_" \
		    group_name[g] "_group;"
		if (!struct_of(g))
			continue
		print "struct far_schema_" group_name[g] " {"
		for (n = group_first[g]; n <= group_last[g]; n++) {
			if (!in_struct(n))
				continue
			c = c_name(node_name[n])
			if (node_default[n] == "optional")
				print "    bool has_" c ";"
			if (node_c[n] == "char")
				printf "    char %s[%d];\n", c, node_max[n] + 1
			else
				print "    " node_c[n] " " c ";"
		}
		print "};"
		print "static inline int far_schema_" group_name[g] "_read("
		print "    struct far_schema_" group_name[g] " *to,"
		print "    far_schema_reader *read, void *arg,"
		print "    struct far_schema_fault *fault)"
		print "{"
		print "    return far_schema_read(&far_schema_" group_name[g] \
		    "_group, to, read, arg, fault);"
		print "}"
	}
	print ""
	print "/* All groups, terminated by NULL. */"
	print "extern const struct far_schema_group *const far_schema_groups[];"
	print ""
	print "#endif"
}

function make_c(    g, n, c, s, w, i, k)
{
	print "/* SPDX-License-Identifier: LGPL-2.1-or-later"
	print " *"
	print " * Made by nodes.awk of nodes.txt: change that."
	print " */"
	print "#include \"xenstore-schema/schema.h\""
	for (g = 1; g <= groups; g++) {
		s = "struct far_schema_" group_name[g]
		print ""
		for (n = group_first[g]; n <= group_last[g]; n++)
			if (node_words[n]) {
				printf "static const char *const words_%d[] = { ", n
				k = split(node_words[n], w, ",")
				for (i = 1; i <= k; i++)
					printf "\"%s\", ", w[i]
				print "0 };"
			}
		print "static const struct far_schema_node nodes_" group_name[g] \
		    "[] = {"
		for (n = group_first[g]; n <= group_last[g]; n++) {
			c = c_name(node_name[n])
			printf "    { .name = \"%s\", .type = FAR_SCHEMA_%s,\n", \
			    node_name[n], node_kind[n]
			printf "      .min = %su, .max = %su,\n", \
			    node_min[n], node_max[n]
			if (node_words[n])
				printf "      .words = words_%d,\n", n
			if (node_default[n] == "alone")
				print "      .presence = FAR_SCHEMA_ALONE,"
			else {
				printf "      .offset = offsetof(%s, %s),\n", s, c
				if (node_default[n] == "required")
					print "      .presence = FAR_SCHEMA_REQUIRED,"
				else if (node_default[n] == "optional") {
					print "      .presence = FAR_SCHEMA_OPTIONAL,"
					printf "      .has_offset = offsetof(%s, has_%s),\n", \
					    s, c
				} else {
					print "      .presence = FAR_SCHEMA_DEFAULT,"
					printf "      .fallback = %su,\n", node_default[n]
				}
			}
			printf "      .writer = \"%s\",\n      .meaning = \"%s\" },\n", \
			    join_writers(node_writer[n]), node_text[n]
		}
		print "};"
		print "const struct far_schema_group far_schema_" group_name[g] \
		    "_group = {"
		printf "    \"%s\", \"%s\", nodes_%s,\n", group_name[g], \
		    group_path[g], group_name[g]
		printf "    sizeof(nodes_%s) / sizeof(nodes_%s[0]), %s\n};\n", \
		    group_name[g], group_name[g], \
		    struct_of(g) ? "sizeof(" s ")" : "0"
	}
	print ""
	print "const struct far_schema_group *const far_schema_groups[] = {"
	for (g = 1; g <= groups; g++)
		print "    &far_schema_" group_name[g] "_group,"
	print "    0"
	print "};"
}

function make_man(    g, n, d, p)
{
	print ".\\\" SPDX-License-Identifier: GPL-2.0-or-later"
	print ".\\\" Made by nodes.awk of xenstore-schema/nodes.txt: change that."
	print ".TH FARSIDE\\-XENSTORE 7 2026-11-20 \"Farside\" \"Farside\""
	print ".SH NAME"
	print "farside\\-xenstore \\- the xenstore nodes that Farside reads and writes"
	print ".SH DESCRIPTION"
	print "Every node is judged when it is read: a number is decimal digits and"
	print "nothing else, and lies in the range given here. A guest whose node is"
	print "missing or wrong loses that device and no other; the backend's node"
	print ".B error"
	print "says which node, and why."
	print ".PP"
	print "A relative path is relative to the domain that the daemon runs in."
	for (g = 1; g <= groups; g++) {
		p = group_path[g]
		print ".SH " toupper(roff(group_name[g]))
		print ".I " roff(p)
		if (group_kinds[g]) {
			gsub(/,/, ", ", group_kinds[g])
			print ".br"
			print "(KIND is one of " roff(group_kinds[g]) ")"
		}
		print ".PP"
		wrap(group_text[g])
		for (n = group_first[g]; n <= group_last[g]; n++) {
			print ".TP"
			print ".B " roff(node_name[n])
			d = node_default[n]
			if (d == "alone")
				d = ""
			else if (d == "required")
				d = "; required"
			else if (d == "optional")
				d = "; may be absent"
			else
				d = "; " d " if absent"
			print "(" roff(node_man[n]) "; written by the " \
			    join_writers(node_writer[n]) d ")"
			print ".br"
			wrap(node_text[n])
		}
	}
	print ".SH SEE ALSO"
	print ".BR farside\\-backend (8),"
	print ".BR farside\\-frontend (8),"
	print ".BR farside.conf (5)"
}

END {
	if (failed)
		exit 1
	for (i = 1; i <= nodes; i++)
		if (!node_text[i] || node_text[i] ~ /["\\]/) {
			printf "%s: %s: no meaning, or a quote in it\n", \
			    FILENAME, node_name[i] > "/dev/stderr"
			exit 1
		}
	if (out == "h")
		make_h()
	else if (out == "c")
		make_c()
	else if (out == "7")
		make_man()
	else
		exit 1
}
