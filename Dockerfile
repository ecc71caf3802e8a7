# The shipped image: one static binary on nothing. Written for any BuildKit: no heredocs, no COPY --link.

FROM swift:6.3-bookworm AS build
WORKDIR /valija
COPY scripts scripts
RUN scripts/install build
COPY . .
RUN scripts/build static
# Fresh named volumes take over the owner of the directory that they cover, so both exist here and are the user's.
RUN mkdir -p /image/usr/bin /image/usr/sbin /image/var/mail /image/var/spool/valija \
 && cp .build-static/release/valija /image/usr/bin/valija \
 && mkdir -p /image/etc/ssl/certs && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && for name in mailq newaliases mail mailx; do ln -s valija /image/usr/bin/$name; done \
 && for name in sendmail postqueue postsuper postcat postconf postfix postmap postalias; do ln -s ../bin/valija /image/usr/sbin/$name; done

FROM scratch
COPY --from=build /image/usr /usr
# Whom `tls.outgoing` believes.
COPY --from=build /image/etc /etc
COPY --from=build --chown=65532:65532 /image/var /var
ENV PATH=/usr/bin:/usr/sbin
USER 65532:65532
VOLUME ["/var/mail", "/var/spool/valija"]
EXPOSE 25 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 CMD ["valija", "health"]
ENTRYPOINT ["valija"]
CMD ["serve", "/etc/valija/mail.yaml"]
