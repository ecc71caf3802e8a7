// Defaults of Postfix 3.7 as Debian 12 builds it, in the form and order of `postconf -d`: m to r (postconf(5)).
// `ParameterDefaults` reads them. A test compares them with the installed Postfix.

extension ParameterDefaults {
    static let textsMtoR = #"""
        mail_name = Postfix
        mail_owner = postfix
        mail_release_date = 20240304
        mail_spool_directory = /var/mail
        mail_version = 3.7.11
        mailbox_command =
        mailbox_command_maps =
        mailbox_delivery_lock = fcntl, dotlock
        mailbox_size_limit = 51200000
        mailbox_transport =
        mailbox_transport_maps =
        maillog_file =
        maillog_file_compressor = gzip
        maillog_file_prefixes = /var, /dev/stdout
        maillog_file_rotate_suffix = %Y%m%d-%H%M%S
        mailq_path = /usr/bin/mailq
        manpage_directory = /usr/share/man
        maps_rbl_domains =
        maps_rbl_reject_code = 554
        masquerade_classes = envelope_sender, header_sender, header_recipient
        masquerade_domains =
        masquerade_exceptions =
        master_service_disable =
        max_idle = 100s
        max_use = 100
        maximal_backoff_time = 4000s
        maximal_queue_lifetime = 5d
        message_drop_headers = bcc, content-length, resent-bcc, return-path
        message_reject_characters =
        message_size_limit = 10240000
        message_strip_characters =
        meta_directory = /etc/postfix
        milter_command_timeout = 30s
        milter_connect_macros = j {daemon_name} {daemon_addr} v _
        milter_connect_timeout = 30s
        milter_content_timeout = 300s
        milter_data_macros = i
        milter_default_action = tempfail
        milter_end_of_data_macros = i
        milter_end_of_header_macros = i
        milter_header_checks =
        milter_helo_macros = {tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}
        milter_macro_daemon_name = $myhostname
        milter_macro_defaults =
        milter_macro_v = $mail_name $mail_version
        milter_mail_macros = i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}
        milter_protocol = 6
        milter_rcpt_macros = i {rcpt_addr} {rcpt_host} {rcpt_mailer}
        milter_unknown_command_macros =
        mime_boundary_length_limit = 2048
        mime_header_checks = $header_checks
        mime_nesting_limit = 100
        minimal_backoff_time = 300s
        multi_instance_directories =
        multi_instance_enable = no
        multi_instance_group =
        multi_instance_name =
        multi_instance_wrapper =
        multi_recipient_bounce_reject_code = 550
        mydestination = $myhostname, localhost.$mydomain, localhost
        mynetworks_style = ${{$compatibility_level} <level {2} ? {subnet} : {host}}
        myorigin = $myhostname
        nested_header_checks = $header_checks
        newaliases_path = /usr/bin/newaliases
        non_fqdn_reject_code = 504
        non_smtpd_milters =
        notify_classes = resource, software
        openssl_path = openssl
        owner_request_special = yes
        parent_domain_matches_subdomains = \#
        debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps
        permit_mx_backup_networks =
        pickup_service_name = pickup
        pipe_delivery_status_filter = $default_delivery_status_filter
        plaintext_reject_code = 450
        postlog_service_name = postlog
        postlogd_watchdog_timeout = 10s
        postmulti_control_commands = reload flush
        postmulti_start_commands = start
        postmulti_stop_commands = stop abort drain quick-stop
        postscreen_access_list = permit_mynetworks
        postscreen_allowlist_interfaces = ${postscreen_whitelist_interfaces?{$postscreen_whitelist_interfaces}:{static:all}}
        postscreen_bare_newline_action = ignore
        postscreen_bare_newline_enable = no
        postscreen_bare_newline_ttl = 30d
        postscreen_cache_cleanup_interval = 12h
        postscreen_cache_map = btree:$data_directory/postscreen_cache
        postscreen_cache_retention_time = 7d
        postscreen_client_connection_count_limit = $smtpd_client_connection_count_limit
        postscreen_command_count_limit = 20
        postscreen_command_filter =
        postscreen_command_time_limit = ${stress?{10}:{300}}s
        postscreen_denylist_action = ${postscreen_blacklist_action?{$postscreen_blacklist_action}:{ignore}}
        postscreen_disable_vrfy_command = $disable_vrfy_command
        postscreen_discard_ehlo_keyword_address_maps = $smtpd_discard_ehlo_keyword_address_maps
        postscreen_discard_ehlo_keywords = $smtpd_discard_ehlo_keywords
        postscreen_dnsbl_action = ignore
        postscreen_dnsbl_allowlist_threshold = ${postscreen_dnsbl_whitelist_threshold?{$postscreen_dnsbl_whitelist_threshold}:{0}}
        postscreen_dnsbl_max_ttl = ${postscreen_dnsbl_ttl?{$postscreen_dnsbl_ttl}:{1}}h
        postscreen_dnsbl_min_ttl = 60s
        postscreen_dnsbl_reply_map =
        postscreen_dnsbl_sites =
        postscreen_dnsbl_threshold = 1
        postscreen_dnsbl_timeout = 10s
        postscreen_enforce_tls = $smtpd_enforce_tls
        postscreen_expansion_filter = $smtpd_expansion_filter
        postscreen_forbidden_commands = $smtpd_forbidden_commands
        postscreen_greet_action = ignore
        postscreen_greet_banner = $smtpd_banner
        postscreen_greet_ttl = 1d
        postscreen_greet_wait = ${stress?{2}:{6}}s
        postscreen_helo_required = $smtpd_helo_required
        postscreen_non_smtp_command_action = drop
        postscreen_non_smtp_command_enable = no
        postscreen_non_smtp_command_ttl = 30d
        postscreen_pipelining_action = enforce
        postscreen_pipelining_enable = no
        postscreen_pipelining_ttl = 30d
        postscreen_post_queue_limit = $default_process_limit
        postscreen_pre_queue_limit = $default_process_limit
        postscreen_reject_footer = $smtpd_reject_footer
        postscreen_reject_footer_maps = $smtpd_reject_footer_maps
        postscreen_tls_security_level = $smtpd_tls_security_level
        postscreen_upstream_proxy_protocol =
        postscreen_upstream_proxy_timeout = 5s
        postscreen_use_tls = $smtpd_use_tls
        postscreen_watchdog_timeout = 10s
        prepend_delivered_header = command, file, forward
        process_id_directory = pid
        process_name = postconf
        propagate_unmatched_extensions = canonical, virtual
        proxy_interfaces =
        proxy_read_maps = $local_recipient_maps $mydestination $virtual_alias_maps $virtual_alias_domains $virtual_mailbox_maps \#
        $virtual_mailbox_domains $relay_recipient_maps $relay_domains $canonical_maps $sender_canonical_maps $recipient_canonical_maps \#
        $relocated_maps $transport_maps $mynetworks $smtpd_sender_login_maps $sender_bcc_maps $recipient_bcc_maps $smtp_generic_maps \#
        $lmtp_generic_maps $alias_maps $smtpd_client_restrictions $smtpd_helo_restrictions $smtpd_sender_restrictions $smtpd_relay_restrictions \#
        $smtpd_recipient_restrictions $address_verify_sender_dependent_default_transport_maps $address_verify_sender_dependent_relayhost_maps \#
        $address_verify_transport_maps $fallback_transport_maps $lmtp_discard_lhlo_keyword_address_maps $lmtp_pix_workaround_maps \#
        $lmtp_sasl_password_maps $lmtp_tls_policy_maps $mailbox_command_maps $mailbox_transport_maps \#
        $postscreen_discard_ehlo_keyword_address_maps $rbl_reply_maps $sender_dependent_default_transport_maps $sender_dependent_relayhost_maps \#
        $smtp_discard_ehlo_keyword_address_maps $smtp_pix_workaround_maps $smtp_sasl_password_maps $smtp_tls_policy_maps \#
        $smtpd_discard_ehlo_keyword_address_maps $smtpd_milter_maps $virtual_gid_maps $virtual_uid_maps $local_login_sender_maps \#
        $postscreen_reject_footer_maps $smtpd_reject_footer_maps $tls_server_sni_maps $tlsproxy_client_policy_maps \#
        $default_delivery_status_filter $lmtp_delivery_status_filter $lmtp_dns_reply_filter $lmtp_reply_filter $local_delivery_status_filter \#
        $pipe_delivery_status_filter $postscreen_command_filter $smtp_delivery_status_filter $smtp_dns_reply_filter $smtp_reply_filter \#
        $smtpd_command_filter $smtpd_dns_reply_filter $virtual_delivery_status_filter $body_checks $header_checks $lmtp_body_checks \#
        $lmtp_header_checks $lmtp_mime_header_checks $lmtp_nested_header_checks $milter_header_checks $mime_header_checks $nested_header_checks \#
        $smtp_body_checks $smtp_header_checks $smtp_mime_header_checks $smtp_nested_header_checks
        proxy_write_maps = $smtp_sasl_auth_cache_name $lmtp_sasl_auth_cache_name $address_verify_map $postscreen_cache_map
        proxymap_service_name = proxymap
        proxywrite_service_name = proxywrite
        qmgr_clog_warn_time = 300s
        qmgr_daemon_timeout = 1000s
        qmgr_fudge_factor = 100
        qmgr_ipc_timeout = 60s
        qmgr_message_active_limit = 20000
        qmgr_message_recipient_limit = 20000
        qmgr_message_recipient_minimum = 10
        qmqpd_authorized_clients =
        qmqpd_client_port_logging = no
        qmqpd_error_delay = 1s
        qmqpd_timeout = 300s
        queue_directory = /var/spool/postfix
        queue_file_attribute_count_limit = 100
        queue_minfree = 0
        queue_run_delay = 300s
        queue_service_name = qmgr
        rbl_reply_maps =
        readme_directory = /usr/share/doc/postfix
        receive_override_options =
        recipient_bcc_maps =
        recipient_canonical_classes = envelope_recipient, header_recipient
        recipient_canonical_maps =
        recipient_delimiter =
        reject_code = 554
        reject_tempfail_action = defer_if_permit
        relay_clientcerts =
        relay_domains = ${{$compatibility_level} <level {2} ? {$mydestination} : {}}
        relay_domains_reject_code = 554
        relay_recipient_maps =
        relay_transport = relay
        relayhost =
        relocated_maps =
        remote_header_rewrite_domain =
        require_home_directory = no
        reset_owner_alias = no
        resolve_dequoted_address = yes
        resolve_null_domain = no
        resolve_numeric_domain = no
        respectful_logging = ${{$compatibility_level} <level {3.6} ? {no} : {yes}}
        rewrite_service_name = rewrite
        """#
}
