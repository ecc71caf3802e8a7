// The rules of `ParameterVerdict`, a line each: `+` harmless to drop, `-` not supported; names, with `*` for anything; and
// a sentence that says what the parameter did and, where something is lost, what to do.

extension ParameterVerdict {
    static let harmlessRules = """
        +compatibility_level: a manifest has no older behaviours to choose from
        +biff: nobody is told of new mail at a terminal
        +*_directory *_directories sendmail_path mailq_path newaliases_path openssl_path: where Postfix keeps its own files
        +mail_owner setgid_group default_privs: Valija runs as one user, whom the system chooses
        +mail_name mail_version mail_release_date: what Postfix says of itself
        +alias_database: newaliases made it; aliases stand in the manifest
        +default_database_type berkeley_db_* lmdb_map_size tcp_windowsize: how Postfix reads its tables
        +append_at_myorigin: bare addresses always get the origin
        +allow_percent_hack swap_bangpath allow_untrusted_routing resolve_*: no routing inside of local parts: they are names, and nothing else
        +strict_rfc821_envelopes smtpd_helo_required smtpd_forbid_*: always so: what the standards forbid is refused
        +smtputf8_* strict_smtputf8 enable_idna2003_compatibility: internationalized mail is always taken
        +enable_long_queue_ids hash_queue_*: the queue is one database, with ids of its own
        +local_recipient_maps proxy_read_maps proxy_write_maps: users and aliases are what there is
        +mydomain: it is part of other values, where it has been filled in
        +owner_request_special expand_owner_alias reset_owner_alias: an alias never changes the sender
        +parent_domain_matches_subdomains: a domain never speaks for its subdomains
        +propagate_unmatched_extensions: an extension ends where an address is found
        +queue_run_delay qmgr_* transport_retry_time default_delivery_slot_* *_delivery_slot_*: the queue schedules by its own rules
        +*_minimum_delivery_slots *_recipient_refill_* *_extra_recipient_limit *_destination_concurrency_*: the queue schedules by its own rules
        +*_initial_destination_concurrency initial_destination_concurrency destination_concurrency_*: the queue schedules by its own rules
        +default_recipient_limit *_recipient_limit duplicate_filter_limit: how many recipients are looked at in one go
        +process_id process_id_directory process_name service_name stress: Postfix sets it itself
        +daemon_* ipc_* max_idle max_use fork_* in_flow_delay trigger_timeout service_throttle_time: how Postfix's processes work together
        +application_event_drain_time *_watchdog_timeout stale_lock_time anvil_status_update_time: how Postfix's processes work together
        +*_service_name internal_mail_filter_classes: how Postfix's processes find each other
        +import_environment export_environment: programs get a small environment of their own
        +postmulti_* multi_instance_wrapper multi_instance_group multi_instance_name multi_instance_enable: one process serves one manifest
        +debug* fault_injection_code dont_remove debugger_command: for those who look for faults in Postfix
        +maillog_* syslog_* *_log_* *_loglevel *_logging* qmgr_clog_warn_time: Valija logs to standard output, and `logging` says how much
        +delay_logging_resolution_limit info_log_address_format respectful_logging show_user_unknown_table_name: how log lines and replies are worded
        +helpful_warnings backwards_bounce_logfile_compatibility sun_mailtool_compatibility frozen_delivered_to: for old software around Postfix
        +smtpd_banner: the greeting is the hostname and ESMTP
        +smtpd_client_auth_rate_limit smtpd_client_new_tls_session_rate_limit: limits are the same for every client
        +smtpd_delay_reject smtpd_delay_open_until_valid_rcpt smtpd_relay_before_recipient_restrictions: recipients are judged at RCPT
        +smtpd_reject_unlisted_recipient: unknown recipients are always refused
        +smtpd_*_error_limit smtpd_error_sleep_time smtpd_junk_command_limit smtpd_history_flush_threshold smtpd_noop_commands: clients that only err are cut off
        +smtpd_starttls_timeout smtpd_*_deadline smtpd_min_data_rate smtpd_recipient_overshoot_limit: sessions have limits of their own
        +smtpd_forbidden_commands smtpd_command_filter: strange commands are refused
        +smtp_*_timeout smtp_*_deadline smtp_min_data_rate smtp_rset_timeout lmtp_*_timeout lmtp_*_deadline lmtp_min_data_rate: deliveries have time limits of their own
        +smtp_connection_* lmtp_connection_* connection_cache_* lmtp_mx_* smtp_randomize_addresses lmtp_randomize_addresses: connections are kept and chosen by rules of their own
        +smtp_balance_inet_protocols lmtp_balance_inet_protocols smtp_address_preference lmtp_address_preference: both protocols are tried
        +smtp_always_send_ehlo smtp_never_send_ehlo smtp_skip_* lmtp_skip_* smtp_pix_* lmtp_pix_* smtp_quote_rfc821_envelope lmtp_quote_rfc821_envelope: how old servers are humoured
        +smtp_line_length_limit lmtp_line_length_limit smtp_send_xforward_command lmtp_send_xforward_command smtp_send_dummy_mail_auth lmtp_send_dummy_mail_auth: how Postfix speaks SMTP
        +smtp_dns_resolver_options lmtp_dns_resolver_options dns_* dnssec_probe ignore_mx_lookup_error smtp_defer_if_no_mx_address_found lmtp_defer_if_no_mx_address_found: names are looked up by a resolver of its own
        +smtp_host_lookup lmtp_host_lookup smtp_cname_overrides_servername lmtp_cname_overrides_servername: names are looked up by a resolver of its own
        +*_tls_session_cache_* smtpd_tls_always_issue_session_ids tls_session_ticket_cipher tls_random_* tls_daemon_random_bytes: how TLS sessions are kept
        +*_tls_ciphers *_tls_mandatory_* *_tls_protocols *_tls_exclude_ciphers tls_*_cipherlist tls_eecdh_* smtpd_tls_eecdh_grade: protocols and ciphers are those that OpenSSL and the standards hold for safe
        +smtpd_tls_dh* tls_preempt_cipherlist tls_disable_workarounds tls_ssl_options tls_append_default_CA tls_config_* tls_fast_shutdown_enable: how OpenSSL is set up
        +smtpd_tls_auth_only smtpd_tls_received_header smtpd_tls_fingerprint_digest smtp_tls_fingerprint_digest lmtp_tls_fingerprint_digest: always so, or without effect here
        +smtp_tls_note_starttls_offer lmtp_tls_note_starttls_offer smtp_tls_connection_reuse lmtp_tls_connection_reuse *_tls_block_early_mail_reply tls_dane_digests tls_legacy_public_key_fingerprints tls_wildcard_matches_multiple_labels: a detail of TLS
        +smtp_tls_*_verifydepth smtpd_tls_ccert_verifydepth lmtp_tls_*_verifydepth: how long a chain of certificates may be
        +smtp_sasl_security_options smtp_sasl_tls_* smtp_sasl_mechanism_filter smtp_sasl_path smtp_sasl_type smtp_sasl_auth_* smtp_sender_dependent_authentication send_cyrus_sasl_authzid: how the login at the relayhost is made
        +lmtp_sasl_*: logins at LMTP servers, which trust their network
        +smtpd_sasl_path smtpd_sasl_type smtpd_sasl_service smtpd_sasl_local_domain smtpd_sasl_response_limit cyrus_sasl_config_path broken_sasl_auth_clients: users log in with the passwords of the manifest
        +smtpd_sasl_security_options smtpd_sasl_tls_security_options smtpd_sasl_mechanism_filter smtpd_sasl_authenticated_header: users log in with the passwords of the manifest
        +virtual_uid_maps virtual_gid_maps virtual_minimum_uid virtual_mailbox_lock mailbox_delivery_lock deliver_lock_* strict_mailbox_ownership allow_min_user require_home_directory: mailboxes belong to the user that Valija runs as
        +virtual_alias_*_limit: aliases end, or the manifest is not valid
        +mime_* header_size_limit header_address_token_limit line_length_limit body_checks_size_limit queue_file_attribute_count_limit: limits of Postfix's parsers
        +*_reject_code *_defer_code defer_code reject_code access_map_*_code: replies have the codes of the standards
        +*_tempfail_action empty_address_* undisclosed_recipients_header always_add_missing_headers detect_8bit_encoding_header disable_mime_* cleanup_replace_stray_cr_lf: a detail of Postfix's
        +sendmail_fix_line_endings rewrite_service_name enable_original_recipient message_drop_headers header_from_format prepend_delivered_header: a detail of Postfix's headers
        +command_expansion_filter execution_directory_expansion_filter forward_expansion_filter smtpd_expansion_filter default_rbl_reply: which characters of mail reach a command or a reply
        +command_time_limit *_time_limit command_execution_directory local_command_shell: how commands are run
        +local_header_rewrite_clients remote_header_rewrite_domain append_dot_mydomain: headers of mail that others send stay as they are
        +local_transport virtual_transport_rate_delay *_transport_rate_delay *_destination_rate_delay default_transport: how deliveries are paced and named
        +smtp_destination_* relay_destination_* lmtp_destination_*: how deliveries are paced
        +address_verify_*: addresses are not asked for at other servers
        +fast_flush_purge_time fast_flush_refresh_time flush_service_name authorized_flush_users authorized_mailq_users authorized_submit_users: who may use which command
        +hopcount_limit: mail that goes in a circle is stopped
        +known_tcp_ports inet_protocols smtp_tcp_port lmtp_tcp_port smtp_helo_name lmtp_lhlo_name lmtp_assume_final smtp_address_verify_target lmtp_address_verify_target: a detail of connections
        +lmtp_tls_CAfile lmtp_tls_CApath smtpd_tls_CAfile smtpd_tls_CApath: certificates of clients and of LMTP servers are not judged
        -smtp_tls_CAfile smtp_tls_CApath: whom to believe: see tls.outgoing.trust_store
        +tlsproxy_* postscreen_* dnsblog_*: of services that there are not here
        +relay_domains virtual_alias_domains virtual_mailbox_domains virtual_mailbox_base smtpd_sasl_auth_enable virtual_mailbox_limit: nothing in this configuration uses it
        +virtual_maps fallback_relay smtpd_client_connection_limit_exceptions: an old name, which Postfix reads where the new one is not set
        +mail_spool_directory mailbox_size_limit smtp_sasl_password_maps smtp_tls_policy_maps tls_server_sni_maps: nothing in this configuration uses it
        +smtpd_upstream_proxy_timeout smtpd_proxy_timeout smtpd_proxy_options smtpd_proxy_ehlo: of a proxy before Postfix
        +alternate_config_directories meta_directory sample_directory config_directory: where Postfix keeps its own files
        +smtp_discard_ehlo_* lmtp_discard_lhlo_* smtpd_discard_ehlo_* : which extensions of SMTP are spoken of
        +smtpd_service_name service_name sender_canonical_classes recipient_canonical_classes canonical_classes masquerade_classes masquerade_exceptions: a detail of rewriting
        """

    static let unsupportedRules = """
        -canonical_maps sender_canonical_maps recipient_canonical_maps: it rewrote addresses in envelopes and headers: let the programs that send write the final addresses; for recipients, make aliases
        -smtp_generic_maps lmtp_generic_maps: it rewrote local addresses in mail to the outside: let the programs that send write addresses that are valid outside, and set origin
        -masquerade_domains: it cut host names off the domains of addresses: set origin, and let programs send with that domain
        -relocated_maps: it told senders where someone has moved: make an alias to the new address
        -luser_relay: mail for unknown local names went there, and now it is refused: name the addresses as aliases, or make the domain virtual with "*"
        -fallback_transport fallback_transport_maps: mail for unknown local names went to another server, and now it is refused: make the domain one of kind relay
        -mailbox_command mailbox_command_maps: a program such as procmail put mail into mailboxes: Valija does so itself, without filters
        -mailbox_transport mailbox_transport_maps virtual_transport: another program put mail into mailboxes: Valija does so itself, into mailboxes.directory, or by LMTP, at mailboxes.via
        -home_mailbox: mailboxes lay in home directories: move them to mailboxes.directory
        -forward_path: users' own .forward files: write their targets under users.NAME.forward
        -recipient_delimiter: it cannot begin an extension here
        -allow_mail_to_commands allow_mail_to_files: which files may name commands and files: only aliases may, here
        -always_bcc sender_bcc_maps recipient_bcc_maps: it sent a copy of mail to someone else: for mail that comes in, add that address to the aliases
        -header_checks body_checks mime_header_checks nested_header_checks *_header_checks *_body_checks: it searched mail for patterns and refused or changed it: do so in a filter before or after this server
        -content_filter receive_override_options smtpd_proxy_filter default_filter_nexthop: mail went through a filter: put the filter before this server, and relay to it
        -smtpd_milters non_smtpd_milters smtpd_milter_maps milter_*: milters looked at mail (signatures, spam, viruses): run them at a server before this one
        -smtpd_client_restrictions smtpd_helo_restrictions smtpd_sender_restrictions smtpd_recipient_restrictions smtpd_relay_restrictions: rules for whom mail is taken from: only relaying by networks and logins is left
        -smtpd_data_restrictions smtpd_end_of_data_restrictions smtpd_etrn_restrictions smtpd_restriction_classes: rules for when mail is taken: only relaying by networks and logins is left
        -smtpd_policy_service_*: a policy service was asked about mail: there is none here
        -smtpd_reject_unlisted_sender: senders in the domains of this server had to exist: any sender is taken from outside; after a login it must be the user's own
        -smtpd_reject_footer smtpd_reject_footer_maps rbl_reply_maps *_recipient_reject_reason unverified_*_reject_reason smtp_reply_filter lmtp_reply_filter *_dns_reply_filter *_delivery_status_filter: replies were changed: the text is Valija's own
        -maps_rbl_domains permit_mx_backup_networks: an old rule for whom mail is taken from: only relaying by networks and logins is left
        -reject_unauth_pipelining smtpd_null_access_lookup_key: a detail of rules that there are not here
        -disable_vrfy_command: VRFY is answered with 252 and tells nothing
        -disable_dns_lookups smtp_dns_support_level lmtp_dns_support_level: names were not looked up in the DNS: name a relayhost as [host], whose address is looked up alone
        -proxy_interfaces: this server is behind a router whose address main.cf names: see that no MX record of another domain leads here, or mail could loop
        -smtp_bind_address smtp_bind_address6 smtp_bind_address_enforce lmtp_bind_address*: mail went out from a certain address: let the network choose it (a container's address, policy routing)
        -lmtp_fallback_relay best_mx_transport: mail that could not be delivered went to another server: it stays in the queue and is tried again
        -sender_dependent_default_transport_maps: mail went out by different services for different senders: name the servers under sender_routes
        -defer_transports master_service_disable: part of the service was held up or turned off: hold messages with `valija queue hold`
        -confirm_delay_cleared: senders were told that late mail was delivered: a sender may ask for that with NOTIFY=SUCCESS
        -error_notice_recipient: the postmaster was told of troubles: read the log
        +bounce_notice_recipient 2bounce_notice_recipient delay_notice_recipient: without its class in notify_classes it says nothing
        -bounce_template_file: reports had a text of their own: it is Valija's
        -soft_bounce: everything was refused for now only: turn it on at the other server while you test
        -double_bounce_sender disable_verp_bounces enable_threaded_bounces: a detail of reports, which are from the null sender, to the address that VERP made
        -verp_delimiter_filter authorized_verp_clients: who may ask for VERP, and how: the clients in networks may, with - = +
        -message_reject_characters message_strip_characters strict_7bit_headers strict_8bitmime* strict_mime_encoding_domain: mail with strange characters was refused or changed: it is taken as it is
        -smtpd_sender_login_maps local_login_sender_maps: who may send as whom: name the addresses under users.NAME.send_as
        -smtpd_sasl_exceptions_networks: some clients were not offered a login: use another port for them
        -qmqpd_*: mail by QMQP: send it by SMTP
        -smtpd_tls_ask_ccert smtpd_tls_req_ccert relay_clientcerts smtpd_tls_wrappermode: clients showed certificates, or port 25 spoke TLS at once: let them log in at listen.submissions
        -smtpd_tls_security_level smtpd_use_tls smtpd_enforce_tls: the level of encryption: see tls.level
        -smtp_tls_security_level smtp_use_tls smtp_enforce_tls: encryption of what goes out: see tls.outgoing
        -smtpd_tls_chain_files smtpd_tls_*cert_file smtpd_tls_*key_file: a certificate: see tls.certificate
        -smtp_tls_*cert_file smtp_tls_*key_file smtp_tls_chain_files smtp_tls_per_site smtp_tls_enforce_peername smtp_tls_*_cert_match smtp_tls_servername smtp_tls_trust_anchor_file smtp_tls_dane_* smtp_tls_force_* smtp_tls_wrappermode: how other servers are judged when mail goes out: see tls.outgoing for levels and names
        -lmtp_*: how Postfix speaks LMTP: mailboxes.via and routes name the servers
        -multi_instance_directories: other instances of Postfix: import each directory by itself, and run a server for each
        -smtpd_upstream_proxy_protocol: a proxy before Postfix named the client: see listen.proxy_protocol
        -mynetworks_style inet_interfaces relayhost relay_transport transport_maps sender_dependent_relayhost_maps smtp_fallback_relay alias_maps myhostname myorigin mydestination: it could not be said in the manifest
        """
}
