% Shows the feedback of a running daemon as a bar of text. Octave 7 with the package `sockets`.
%
%     octave-cli feedback_octave.m [PORT] [N]       ends after N scores; 0: never
%
% It listens for the sink [sinks.rtpspy], which sends "NF <time>,<volume>,<value>;". Start it before
% the daemon's run. In MATLAB replace the lines marked (1) by
%     server = tcpserver("127.0.0.1", port);
% and (2) by
%     while server.NumBytesAvailable == 0, pause(0.005); end
%     bytes = read(server, server.NumBytesAvailable, "uint8");

pkg load sockets
arguments = argv();
port = 5570;
n_wanted = 0;
if numel(arguments) >= 1, port = str2double(arguments{1}); end
if numel(arguments) >= 2, n_wanted = str2double(arguments{2}); end

server = socket(AF_INET, SOCK_STREAM, 0);                          % (1)
if bind(server, port) ~= 0, error("port %d is in use", port); end  % (1)
listen(server, 1);                                                 % (1)
printf("listening on %d\n", port);
fflush(stdout);
client = accept(server);                                           % (1)

waiting = "";
n_shown = 0;
while n_wanted == 0 || n_shown < n_wanted
  bytes = recv(client, 1024);                                      % (2)
  if isempty(bytes), break; end
  waiting = [waiting, char(bytes(:)')];
  ends = find(waiting == ";");
  if isempty(ends)
    if numel(waiting) > 4096, error("no `;` in 4096 bytes: this is not RTPSpy's text"); end
    continue
  end
  for text = strsplit(waiting(1:ends(end) - 1), ";")
    numbers = sscanf(text{1}, "NF %f,%f,%f");
    if numel(numbers) ~= 3, continue; end
    score = min(max(numbers(3), 0), 1);
    printf("[%-40s] %5.2f  volume %d\n", repmat("#", 1, round(40 * score)), numbers(3), numbers(2));
    fflush(stdout);
    n_shown = n_shown + 1;
    if n_shown == n_wanted, break; end
  end
  waiting = waiting(ends(end) + 1:end);
end
disconnect(client);
disconnect(server);
